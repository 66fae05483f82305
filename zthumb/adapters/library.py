"""The adapter files below a folder, however deep, with ids that are unique and stay what they are when files are added."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from foundation.errors import BadInput
from foundation.plugins import suggestion
from zthumb.adapters import header, textual_inversion

FOLDER = "lora"
_ENDING = ".safetensors"
OF_THEIR_FOLDER = (header.DIFFUSERS_FILE, header.PEFT_FILE)
_OUTPUT_NAME = "ss_output_name"


def adapter_files(root: Path) -> list[Path]:
    """Every adapter in ``root``/lora, sorted; what leads out of ``root`` is none."""
    root = root.resolve()
    return sorted(path for path in _walk(root / FOLDER, root, set()) if _is_adapter(path, root))


def ids_of(files: list[Path], root: Path) -> dict[str, Path]:
    """Id → adapter.

    An adapter is called as its path below ``root``/lora is, without its ending; one that is called as its folder, or as diffusers
    and PEFT call every adapter's file, is called as the folder. A name that several would have is none of theirs, lest it mean
    another adapter after a file is added: each of them keeps its ending.
    """
    folder, named = root.resolve() / FOLDER, defaultdict[str, list[Path]](list)
    for path in sorted(files, key=lambda each: (_rank(each, folder), str(each))):
        relative = path.relative_to(folder)
        name = (relative.parent if _rank(path, folder) < _PLAIN else relative.with_suffix("")).as_posix()
        # The second layout of one adapter needs no name of its own.
        if path.name not in OF_THEIR_FOLDER or not any(each.parent == path.parent for each in named[name]):
            named[name].append(path)
    alone = {name: paths[0] for name, paths in named.items() if len(paths) == 1}
    several = {path.relative_to(folder).as_posix(): path for paths in named.values() if len(paths) > 1 for path in paths}
    return dict(sorted({**alone, **several}.items()))


def find(name: str, ids: Mapping[str, Path]) -> Path:
    """The adapter called ``name``: by its id, its file's name, or the name its header tells; capitals do not matter.

    Raises ``BadInput`` where there is none, with the nearest name, or where there are several.
    """
    wanted = name.strip().lower().removesuffix(_ENDING)
    if name in ids:
        return ids[name]
    # Headers are opened only where no name says it.
    is_it: tuple[Callable[[str, Path], bool], ...] = (
        lambda each, _: each.lower() == wanted,
        lambda _, path: path.stem.lower() == wanted,
        lambda _, path: _told_name(path) == wanted,
    )
    for is_one in is_it:
        matches = {path for each, path in ids.items() if is_one(each, path)}
        if len(matches) > 1:
            several = sorted(each for each, path in ids.items() if path in matches)
            raise BadInput(f"{name!r} names several adapters: {', '.join(several)}. Take the whole id.")
        if matches:
            return next(iter(matches))
    there = suggestion(name, [*ids, *(path.stem for path in ids.values())]) if ids else "There are none here."
    raise BadInput(f"no adapter is called {name!r}. {there}")


_OWN, _LAYOUT, _PLAIN = range(3)


def _rank(path: Path, folder: Path) -> int:
    """How much an adapter is the one of its folder."""
    if path.parent == folder:
        return _PLAIN
    if path.stem == path.parent.name:
        return _OWN
    return _LAYOUT if path.name in OF_THEIR_FOLDER else _PLAIN


def _told_name(path: Path) -> str:
    try:
        return header.read(path).metadata.get(_OUTPUT_NAME, "").strip().lower()
    except (BadInput, OSError):
        return ""


def _walk(folder: Path, root: Path, seen: set[Path]) -> Iterator[Path]:
    """The files in ``folder`` and below; links to folders in ``root`` are followed, each folder once."""
    real = folder.resolve()
    if real in seen or not real.is_relative_to(root) or not folder.is_dir():
        return
    seen.add(real)
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda each: each.name):
            if entry.name.startswith("."):
                continue
            path = Path(entry.path)
            if path.is_dir():  # unlike the entry's own, false of a link that leads to itself
                yield from _walk(path, root, seen)
            elif path.suffix.lower() == _ENDING:
                yield path


def _is_adapter(path: Path, root: Path) -> bool:
    try:
        # A pipe or a device would be read for ever.
        return not path.name.endswith(textual_inversion.ENDING) and path.is_file() and path.resolve().is_relative_to(root)
    except (OSError, RuntimeError):  # a link that leads to itself
        return False
