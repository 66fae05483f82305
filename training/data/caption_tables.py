"""Captions of many images in one file: ``metadata.jsonl`` and ``.csv`` (diffusers' ``imagefolder``), kohya's JSON files."""

import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from foundation.errors import BadInput
from foundation.image_files import is_junk

Captions = tuple[str, ...]
"""The captions of one image, of which training draws one each epoch; an empty one says nothing."""

TABLES = (".jsonl", ".csv", ".json")
_FILE_KEYS = ("file_name", "filename", "file", "image", "image_path", "path")
_TEXT_KEYS = ("text", "caption", "captions", "prompt", "description")
_OWN = ("dataset.json", "counts.json", "manifest.json")


@dataclass(frozen=True)
class CaptionTable:
    """What a table says of the images it knows; ``unknown`` are the names in it that are of no image, or of several."""

    path: Path
    captions: Mapping[Path, Captions]
    unknown: tuple[str, ...]


def tables_in(folder: Path, images: Sequence[Path]) -> list[CaptionTable]:
    """The tables of captions in ``folder``, of those of ``images`` that lie in it or below."""
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in TABLES and not is_junk(path))
    read = [(path, list(_rows(path))) for path in files if path.name not in _OWN]
    below = [image for image in images if image.is_relative_to(folder)]
    return [_table(path, rows, below) for path, rows in read if rows]


def read_text(path: Path) -> str:
    """The text of ``path``; ``BadInput`` where it is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: not UTF-8 text (byte {error.start + 1}). Save it as UTF-8.") from None


def _table(path: Path, rows: Sequence[tuple[str, Captions]], images: Sequence[Path]) -> CaptionTable:
    by_name: dict[str, list[Path]] = defaultdict(list)
    for image in images:
        by_name[image.name.lower()].append(image)
        by_name[image.stem.lower()].append(image)
    found: dict[Path, Captions] = {}
    closeness: dict[Path, int] = {}
    unknown = []
    for name, captions in rows:
        match = _image_of(_parts(name), path.parent, by_name)
        if match is None:
            unknown.append(name)
            continue
        image, shared = match
        if shared < closeness.get(image, 0):
            unknown.append(name)
            continue
        # Several rows of one image are several captions of it.
        told = found.get(image, ()) if shared == closeness.get(image) else ()
        found[image] = tuple(dict.fromkeys((*told, *captions)))
        closeness[image] = shared
    return CaptionTable(path, found, tuple(unknown))


def _image_of(row: tuple[str, ...], folder: Path, by_name: Mapping[str, Sequence[Path]]) -> tuple[Path, int] | None:
    """The image a row is of, and how many parts its name shares with the image's path.

    A row may be a path below the table's folder, part of one, or a path on the machine that the table was written on. Of several
    images the one directly beside the table is meant, or else none.
    """
    scores = {}
    for image in by_name.get(row[-1], ()) if row else ():
        whole, below = _parts(image.as_posix()), _parts(image.relative_to(folder).as_posix())
        shared = _shared(row, whole)
        if shared == len(row) or shared >= len(below):
            scores[image] = (shared, len(below) == len(row) == shared)
    best = [image for image, score in scores.items() if score == max(scores.values())]
    return (best[0], scores[best[0]][0]) if len(best) == 1 else None


def _shared(row: tuple[str, ...], image: tuple[str, ...]) -> int:
    """How many last parts of a row's name are those of an image's path; the last may lack the ending."""
    pairs = list(zip(row[-2::-1], image[-2::-1], strict=False))
    return 1 + next((place for place, (one, other) in enumerate(pairs) if one != other), len(pairs))


def _parts(name: str) -> tuple[str, ...]:
    return tuple(part for part in PurePosixPath(name.replace("\\", "/").lower()).parts if part not in ("/", "."))


def _rows(path: Path) -> Iterator[tuple[str, Captions]]:
    """File name → captions, of a table; nothing where the file is something else than a table of captions."""
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
            yield str(name), _captions(told)


def _meta(whole: Mapping[str, Any]) -> Iterator[tuple[str, Captions]]:
    """Rows of kohya's JSON: path or stem → caption, tags or both; or simply name → caption."""
    for name, row in whole.items():
        if isinstance(row, dict) and (row.get("caption") is not None or row.get("tags") is not None):
            tags = row.get("tags") or ""
            tags = ", ".join(map(str, tags)) if isinstance(tags, list) else str(tags)
            captions = _captions(row.get("caption") or "")
            yield name, _captions([", ".join(part for part in (caption, tags) if part) for caption in captions])
        elif isinstance(row, str) and Path(name).suffix:
            yield name, _captions(row)


def _captions(told: Any) -> Captions:
    texts = [" ".join(str(each).split()) for each in told] if isinstance(told, list) else [" ".join(str(told).split())]
    return tuple(text for text in texts if text) or ("",)


def _first(row: Mapping[str, Any], keys: Sequence[str]) -> Any:
    return next((row[key] for key in keys if row.get(key) is not None), None)


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{where}: not valid JSON ({error}). Repair it, or move it out of the data set.") from None
