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
"""The captions of one image, of which training draws one each epoch; one of them may be empty."""

TABLES = (".jsonl", ".csv", ".json")
_FILE_KEYS = ("file_name", "filename", "file", "image", "image_path", "path")
_TEXT_KEYS = ("text", "caption", "captions", "prompt", "description")
_OWN_OUTPUTS = ("dataset.json", "counts.json", "manifest.json")


@dataclass(frozen=True)
class CaptionTable:
    """The captions in a table by image; ``unknown`` are the names in it that match no image, or several."""

    path: Path
    captions: Mapping[Path, Captions]
    unknown: tuple[str, ...]


def tables_in(folder: Path, images: Sequence[Path]) -> list[CaptionTable]:
    """Return the caption tables in ``folder``, for those of ``images`` that are in it or below it."""
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in TABLES and not is_junk(path))
    tables = [(path, list(_rows(path))) for path in files if path.name not in _OWN_OUTPUTS]
    images_below = [image for image in images if image.is_relative_to(folder)]
    return [_match_rows(path, rows, images_below) for path, rows in tables if rows]


def read_text(path: Path) -> str:
    """Return the text of ``path``; raises ``BadInput`` if it is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: not UTF-8 text (byte {error.start + 1}). Save it as UTF-8.") from None


def _match_rows(path: Path, rows: Sequence[tuple[str, Captions]], images: Sequence[Path]) -> CaptionTable:
    by_name: dict[str, list[Path]] = defaultdict(list)
    for image in images:
        by_name[image.name.lower()].append(image)
        by_name[image.stem.lower()].append(image)
    captions_of: dict[Path, Captions] = {}
    best_score: dict[Path, int] = {}
    unknown = []
    for name, captions in rows:
        match = _image_of(_parts(name), path.parent, by_name)
        if match is None:
            unknown.append(name)
            continue
        image, score = match
        if score < best_score.get(image, 0):
            unknown.append(name)
            continue
        # Several rows of one image are several captions of it.
        earlier = captions_of.get(image, ()) if score == best_score.get(image) else ()
        captions_of[image] = tuple(dict.fromkeys((*earlier, *captions)))
        best_score[image] = score
    return CaptionTable(path, captions_of, tuple(unknown))


def _image_of(name: tuple[str, ...], folder: Path, by_name: Mapping[str, Sequence[Path]]) -> tuple[Path, int] | None:
    """Return the image that a row names, and how many path parts the name shares with the image's path.

    A row may name a path below the table's folder, a part of one, or a path on the machine that the table was written on.
    The image that shares most parts is taken, then the one at exactly that path below the table's folder; None if several remain.
    """
    scores = {}
    for image in by_name.get(name[-1], ()) if name else ():
        full_path, path_below = _parts(image.as_posix()), _parts(image.relative_to(folder).as_posix())
        shared = _shared_parts(name, full_path)
        if shared == len(name) or shared >= len(path_below):
            scores[image] = (shared, len(path_below) == len(name) == shared)
    best = [image for image, score in scores.items() if score == max(scores.values())]
    return (best[0], scores[best[0]][0]) if len(best) == 1 else None


def _shared_parts(name: tuple[str, ...], path: tuple[str, ...]) -> int:
    """Count the last parts that a row's name and an image's path have in common; the last part may lack the suffix."""
    pairs = list(zip(name[-2::-1], path[-2::-1], strict=False))
    return 1 + next((index for index, (first, second) in enumerate(pairs) if first != second), len(pairs))


def _parts(name: str) -> tuple[str, ...]:
    return tuple(part for part in PurePosixPath(name.replace("\\", "/").lower()).parts if part not in ("/", "."))


def _rows(path: Path) -> Iterator[tuple[str, Captions]]:
    """Yield the file name and captions of each row; nothing if the file is not a caption table."""
    text = read_text(path)
    if path.suffix.lower() == ".csv":
        rows: Sequence[Any] = list(csv.DictReader(io.StringIO(text)))
    elif path.suffix.lower() == ".jsonl":
        lines = enumerate(text.splitlines(), start=1)
        rows = [_parse_json(line, f"{path}, line {number}") for number, line in lines if line.strip()]
    else:
        content = _parse_json(text, str(path))
        if isinstance(content, dict):
            yield from _rows_by_name(content)
            return
        rows = content if isinstance(content, list) else []
    for row in rows:
        if isinstance(row, dict) and (name := _first(row, _FILE_KEYS)) and (value := _first(row, _TEXT_KEYS)) is not None:
            yield str(name), _captions(value)


def _rows_by_name(content: Mapping[str, Any]) -> Iterator[tuple[str, Captions]]:
    """Yield the rows of kohya's JSON: path or stem → caption, tags or both; or simply name → caption."""
    for name, row in content.items():
        if isinstance(row, dict) and (row.get("caption") is not None or row.get("tags") is not None):
            tags = row.get("tags") or ""
            tags = ", ".join(map(str, tags)) if isinstance(tags, list) else str(tags)
            captions = _captions(row.get("caption") or "")
            yield name, _captions([", ".join(part for part in (caption, tags) if part) for caption in captions])
        elif isinstance(row, str) and Path(name).suffix:
            yield name, _captions(row)


def _captions(value: Any) -> Captions:
    texts = [" ".join(str(text).split()) for text in value] if isinstance(value, list) else [" ".join(str(value).split())]
    return tuple(text for text in texts if text) or ("",)


def _first(row: Mapping[str, Any], keys: Sequence[str]) -> Any:
    return next((row[key] for key in keys if row.get(key) is not None), None)


def _parse_json(text: str, source: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{source}: not valid JSON ({error}). Repair it, or move it out of the data set.") from None
