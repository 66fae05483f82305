"""Captions as people and programs write them: a file beside each image, one for a folder, or a table of all.

Beside an image ``a.png`` are read ``a.txt``, ``a.caption`` (kohya), ``a.png.txt`` and ``a.png.caption``, in any capitals. Tables
are ``metadata.jsonl`` and ``metadata.csv`` (diffusers' ``imagefolder``) and kohya's JSON files of captions and tags.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from foundation.errors import BadInput
from foundation.image_files import is_junk

_BESIDE = (".txt", ".caption")
_FOR_ALL = ("caption.txt", "captions.txt")
_TABLES = (".jsonl", ".csv", ".json")
_FILE_KEYS = ("file_name", "filename", "file", "image", "image_path", "path")
_TEXT_KEYS = ("text", "caption", "captions", "prompt", "description")
_OWN = ("dataset.json", "counts.json", "manifest.json")

Captions = tuple[str, ...]
"""The captions of one image, of which training draws one each epoch; an empty one says nothing."""


@dataclass(frozen=True)
class Found:
    """An image's captions and the file they stand in; ``others`` are files that say something else and are not used."""

    captions: Captions
    file: Path
    others: tuple[Path, ...] = ()


@dataclass
class CaptionFiles:
    """The caption files of one data set. ``used`` grows as images are asked for: what is left over belongs to no image."""

    root: Path
    used: set[Path] = field(default_factory=set)
    _tables: dict[Path, Mapping[str, Captions]] = field(default_factory=dict)
    _beside: dict[Path, Mapping[str, Path]] = field(default_factory=dict)

    def of(self, image: Path) -> Found | None:
        """The captions of ``image``; None where there are none.

        What stands beside the image comes before a table of its folder or of one around it, and that before one file for the
        whole folder.
        """
        found = [each for each in self._candidates(image) if each is not None]
        self.used |= {each.file for each in found}
        if not found:
            return self._for_all(image.parent)
        first = found[0]
        others = tuple(each.file for each in found[1:] if each.captions != first.captions)
        return Found(first.captions, first.file, others)

    def _candidates(self, image: Path) -> Iterator[Found | None]:
        files = self._files_beside(image.parent)
        for name in (*(image.stem + ending for ending in _BESIDE), *(image.name + ending for ending in _BESIDE)):
            if file := files.get(name.lower()):
                yield Found(read_captions(file), file)
        for folder in _up_to(image.parent, self.root):
            for table in self._tables_in(folder):
                yield self._row(table, image)

    def _for_all(self, folder: Path) -> Found | None:
        files = self._files_beside(folder)
        for name in _FOR_ALL:
            if file := files.get(name):
                self.used.add(file)
                return Found(read_captions(file), file)
        return None

    def _files_beside(self, folder: Path) -> Mapping[str, Path]:
        """Lower-case name → file, of the caption files in ``folder``."""
        if folder not in self._beside:
            files = sorted(path for path in folder.iterdir() if path.suffix.lower() in _BESIDE and not is_junk(path))
            # Of two names that differ in capitals alone, the one in small letters, which is sorted last.
            self._beside[folder] = {path.name.lower(): path for path in files}
        return self._beside[folder]

    def _tables_in(self, folder: Path) -> list[Path]:
        found = sorted(path for path in folder.iterdir() if path.suffix.lower() in _TABLES and not is_junk(path))
        return [path for path in found if path.name not in _OWN and self._table(path)]

    def _row(self, table: Path, image: Path) -> Found | None:
        rows = self._table(table)
        names = (_key(image.relative_to(table.parent)), _key(image), image.name.lower(), image.stem.lower())
        captions = next((rows[name] for name in names if name in rows), None)
        return None if captions is None else Found(captions, table)

    def _table(self, path: Path) -> Mapping[str, Captions]:
        if path not in self._tables:
            self._tables[path] = dict(_rows(path))
        return self._tables[path]


def read_captions(path: Path) -> Captions:
    """The captions in a file, a line each; byte-order mark, line ends, empty lines and runs of blanks do not matter."""
    lines = [" ".join(line.split()) for line in read_text(path).splitlines()]
    return tuple(line for line in lines if line) or ("",)


def read_text(path: Path) -> str:
    """The text of ``path``; ``BadInput`` where it is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: not UTF-8 text (byte {error.start + 1}). Save it as UTF-8.") from None


def is_caption_file(path: Path) -> bool:
    """Whether ``path`` has an ending of caption files or tables."""
    return path.suffix.lower() in (*_BESIDE, *_TABLES)


def _up_to(folder: Path, root: Path) -> Iterator[Path]:
    yield folder
    while folder != root and folder.parent != folder:
        folder = folder.parent
        yield folder


def _rows(path: Path) -> Iterator[tuple[str, Captions]]:
    """File name, lower case → captions, of a table; nothing where the file is something else than a table of captions."""
    text = read_text(path)
    if path.suffix.lower() == ".csv":
        rows: Sequence[Any] = list(csv.DictReader(io.StringIO(text)))
    elif path.suffix.lower() == ".jsonl":
        rows = [_json(line, f"{path}, line {number}") for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    else:
        whole = _json(text, str(path))
        if isinstance(whole, dict):
            yield from _meta(whole)
            return
        rows = whole if isinstance(whole, list) else []
    for row in rows:
        if isinstance(row, dict) and (name := _first(row, _FILE_KEYS)) and (told := _first(row, _TEXT_KEYS)) is not None:
            yield _key(Path(str(name))), _captions(told)


def _meta(whole: Mapping[str, Any]) -> Iterator[tuple[str, Captions]]:
    """Rows of kohya's JSON: path or stem → caption, tags or both; or simply name → caption."""
    for name, row in whole.items():
        if isinstance(row, dict) and (row.get("caption") is not None or row.get("tags") is not None):
            parts = [str(row[key]) for key in ("caption", "tags") if row.get(key)]
            yield _key(Path(name)), _captions(", ".join(parts))
        elif isinstance(row, str) and Path(name).suffix:
            yield _key(Path(name)), _captions(row)


def _captions(told: Any) -> Captions:
    texts = [" ".join(str(each).split()) for each in told] if isinstance(told, list) else [" ".join(str(told).split())]
    return tuple(text for text in texts if text) or ("",)


def _first(row: Mapping[str, Any], keys: Sequence[str]) -> Any:
    return next((row[key] for key in keys if row.get(key) is not None), None)


def _key(path: Path) -> str:
    return path.as_posix().lower().removeprefix("./")


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise BadInput(f"{where}: not valid JSON ({error}). Repair it, or move it out of the data set.") from None
