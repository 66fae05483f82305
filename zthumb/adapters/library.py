"""The adapter files in a folder, at any depth, with unique ids that do not change meaning when files are added."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from foundation.errors import BadInput
from foundation.plugins import suggestion
from zthumb.adapters import textual_inversion
from zthumb.checkpoints import header

FOLDER = "lora"
_SUFFIX = ".safetensors"
OF_THEIR_FOLDER = (header.DIFFUSERS_FILE, header.PEFT_FILE)
"""File names that diffusers and PEFT give every adapter; such an adapter is named after its folder."""

_OUTPUT_NAME = "ss_output_name"


def adapter_files(root: Path) -> list[Path]:
    """Return every adapter in ``root``/lora, sorted; files that resolve to a place outside ``root`` are skipped."""
    root = root.resolve()
    return sorted(path for path in _walk(root / FOLDER, root, set()) if _is_adapter(path, root))


def ids_of(files: list[Path], root: Path) -> dict[str, Path]:
    """Return the adapters by id.

    The id of an adapter is its path below ``root``/lora without the file suffix. An adapter that has the name of its folder, or
    the file name that diffusers and PEFT give every adapter, has the folder as its id. If several adapters would have the same
    id, none gets it, because it could otherwise mean another adapter after a file is added: their ids keep the file suffix.
    """
    folder, paths_by_name = root.resolve() / FOLDER, defaultdict[str, list[Path]](list)
    for path in sorted(files, key=lambda file: (_rank(file, folder), str(file))):
        relative = path.relative_to(folder)
        name = (relative.parent if _rank(path, folder) < _OTHER_NAME else relative.with_suffix("")).as_posix()
        # The second layout of one adapter needs no id of its own.
        if path.name not in OF_THEIR_FOLDER or not any(earlier.parent == path.parent for earlier in paths_by_name[name]):
            paths_by_name[name].append(path)
    unique = {name: paths[0] for name, paths in paths_by_name.items() if len(paths) == 1}
    ambiguous = {
        path.relative_to(folder).as_posix(): path for paths in paths_by_name.values() if len(paths) > 1 for path in paths
    }
    return dict(sorted({**unique, **ambiguous}.items()))


def find(name: str, ids: Mapping[str, Path]) -> Path:
    """Return the adapter called ``name``: by its id, its file name, or the name in its header; case is ignored.

    Raises ``BadInput`` if there is none, with the nearest name, or if there are several.
    """
    normalized = name.strip().lower().removesuffix(_SUFFIX)
    if name in ids:
        return ids[name]
    # Headers are read only if neither id nor file name matches.
    rules: tuple[Callable[[str, Path], bool], ...] = (
        lambda adapter_id, _: adapter_id.lower() == normalized,
        lambda _, path: path.stem.lower() == normalized,
        lambda _, path: _output_name(path) == normalized,
    )
    for is_match in rules:
        matches = {path for adapter_id, path in ids.items() if is_match(adapter_id, path)}
        if len(matches) > 1:
            candidates = sorted(adapter_id for adapter_id, path in ids.items() if path in matches)
            raise BadInput(f"{name!r} names several adapters: {', '.join(candidates)}. Use the full id.")
        if matches:
            return next(iter(matches))
    hint = suggestion(name, [*ids, *(path.stem for path in ids.values())]) if ids else "There are none."
    raise BadInput(f"no adapter is called {name!r}. {hint}")


_FOLDER_NAME, _DEFAULT_NAME, _OTHER_NAME = range(3)


def _rank(path: Path, folder: Path) -> int:
    """Return how strongly the file name identifies an adapter with its folder; lower is stronger."""
    if path.parent == folder:
        return _OTHER_NAME
    if path.stem == path.parent.name:
        return _FOLDER_NAME
    return _DEFAULT_NAME if path.name in OF_THEIR_FOLDER else _OTHER_NAME


def _output_name(path: Path) -> str:
    try:
        return header.read(path).metadata.get(_OUTPUT_NAME, "").strip().lower()
    except (BadInput, OSError):
        return ""


def _walk(folder: Path, root: Path, visited: set[Path]) -> Iterator[Path]:
    """Yield the adapter files in ``folder`` and below; follow links to folders inside ``root``, each folder once."""
    real = folder.resolve()
    if real in visited or not real.is_relative_to(root) or not folder.is_dir():
        return
    visited.add(real)
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name.startswith("."):
                continue
            path = Path(entry.path)
            if path.is_dir():  # Unlike the entry's own is_dir, this is false for a link that points to itself.
                yield from _walk(path, root, visited)
            elif path.suffix.lower() == _SUFFIX:
                yield path


def _is_adapter(path: Path, root: Path) -> bool:
    try:
        # Reading a pipe or a device would never end.
        return not path.name.endswith(textual_inversion.ENDING) and path.is_file() and path.resolve().is_relative_to(root)
    except (OSError, RuntimeError):  # a link that points to itself
        return False
