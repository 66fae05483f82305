"""Checkpoints in a single file: converted once to a folder in the diffusers layout, the only layout that is loaded.

A file contains neither its tokenizers nor the configuration of its components. Both are taken from a known base, in ``models`` or
a family's reference, if the file has each of its tensors under the published name and in the same shape.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from foundation.errors import BadInput
from foundation.files import atomic_directory, read_json, write_json
from foundation.hashing import hash_file
from zthumb import families
from zthumb.checkpoints.single_file import SingleFile
from zthumb.sources.component_files import Component, component_of
from zthumb.sources.download import DISK_RESERVE, file_lock
from zthumb.sources.local import INDEX, family_of

if TYPE_CHECKING:
    from zthumb.families.base import ModelFamily

RECORD = "single_file.json"
"""The file in a converted folder that says which single file it was converted from."""
_SCHEDULER = Path("scheduler") / "scheduler_config.json"
_SCHEDULER_DEFAULTS: Mapping[str, Any] = MappingProxyType({"prediction_type": "epsilon", "rescale_betas_zero_snr": False})
_CLASS, _PREDICTION = "_class_name", "prediction_type"
_DIGITS = 12


def convert_single_file(
    file: Path, models: Path, known: Sequence[Path], other_components: Callable[[Path, Sequence[str]], Mapping[str, Path]]
) -> Path:
    """Return the folder of the base in ``file``, converted below ``models`` unless that was done before.

    ``known`` are folders of bases, the likeliest first. ``other_components`` returns the folders of the components of one of them
    that no single file has, and of those named that this file lacks: it may be the denoiser alone. Raises ``BadInput`` when none
    fits or the disk is full.
    """
    folder = models / "unpacked"
    if converted := _find_converted(file, folder):
        return converted
    published = SingleFile.read(file)
    base, components = _find_fitting_base(published, known)
    family = families.get(family_of(base))
    opened = published.renamed(family.single_file_aliases)
    others = other_components(base, [name for name in family.single_file if name not in components])
    digest = hash_file(file)
    target = folder / f"{file.stem}-{digest[:_DIGITS]}"
    folder.mkdir(parents=True, exist_ok=True)
    with file_lock(target):
        # It may exist by now: converted by another process, or from the same file under another path.
        if not (target / INDEX).is_file():
            _check_disk_space(opened, folder)
            with atomic_directory(target) as temporary:
                for name, component in components.items():
                    component.write(opened, family.single_file[name], temporary / name)
                write_others(base, others, temporary, family.stated_scheduler(opened))
                write_json(temporary / RECORD, {"sha256": digest, "files": []})
        _record_file(file, target / RECORD)
    return target


def _find_converted(file: Path, folder: Path) -> Path | None:
    """Return the folder that this file, unchanged since, was converted to before."""
    for path in sorted(folder.glob(f"*/{RECORD}")):
        record = read_json(path)
        if _state(file) in record["files"]:
            return path.parent
    return None


def _record_file(file: Path, path: Path) -> None:
    """Record that the folder was converted from this file, so that the file need not be hashed again."""
    record = read_json(path)
    others = [state for state in record["files"] if state["path"] != str(file.resolve())]
    write_json(path, {**record, "files": [*others, _state(file)]})


def _state(file: Path) -> dict[str, Any]:
    stat = file.stat()
    return {"path": str(file.resolve()), "size": stat.st_size, "changed": stat.st_mtime_ns}


def _find_fitting_base(opened: SingleFile, known: Sequence[Path]) -> tuple[Path, dict[str, Component]]:
    """Return the likeliest base that fits the file, and its components in it; ``BadInput`` says why the nearest does not fit.

    Of bases with the same shapes it is the one whose scheduler is most like what the file states, above all in what it predicts.
    """
    fitting, mismatches = list[tuple[tuple[bool, int], Path, dict[str, Component]]](), []
    for base in known:
        family = families.get(family_of(base))
        renamed = opened.renamed(family.single_file_aliases)
        mark = family.single_file[family.denoiser_component] + family.denoiser_mark
        if mark not in renamed.shapes:
            mismatches.append((len(family.single_file), f"compared with {base.name}, it lacks {mark}"))
            continue
        components = {name: component_of(family, base, name) for name in _contained(renamed, family)}
        reasons = [component.mismatch(renamed, family.single_file[name]) for name, component in components.items()]
        if not any(reasons):
            wrong = _disagreements(read_json(base / _SCHEDULER), family.stated_scheduler(renamed))
            if not wrong:
                return base, components
            fitting.append(((_PREDICTION in wrong, len(wrong)), base, components))
        mismatches.append(
            (sum(reason is not None for reason in reasons), f"compared with {base.name}, {next(filter(None, reasons), '')}")
        )
    if fitting:
        _, base, components = min(fitting, key=lambda candidate: candidate[0])
        return base, components
    nearest = min(mismatches, default=(0, "no base is known"))[1]
    raise BadInput(
        f"{opened.path}: is not the checkpoint of a supported base: {nearest}. "
        "If it is an adapter, name it where adapters are named."
    )


def _contained(file: SingleFile, family: ModelFamily) -> list[str]:
    """Return the components that the file has to have: all, unless everything in it is the denoiser's.

    A text encoder under unknown names must not be replaced by another base's in silence.
    """
    denoiser = family.denoiser_component
    is_denoiser_alone = all(name.startswith(family.single_file[denoiser]) for name in file.shapes)
    return [denoiser] if is_denoiser_alone else list(family.single_file)


def _check_disk_space(file: SingleFile, folder: Path) -> None:
    needed, free = file.read_bytes + DISK_RESERVE, shutil.disk_usage(folder).free
    if needed > free:
        raise BadInput(
            f"{folder}: converting {file.path.name} takes another {needed} bytes, and {free} are free. Free disk space first."
        )


def write_others(base: Path, others: Mapping[str, Path], target: Path, stated: Mapping[str, Any]) -> None:
    """Write what the file lacks: the index, the tokenizers, and the scheduler with the settings that the file states."""
    shutil.copyfile(base / INDEX, target / INDEX)
    for name, folder in others.items():
        shutil.copytree(folder, target / name)
    scheduler = target / _SCHEDULER
    configuration = read_json(scheduler)
    if _disagreements(configuration, stated):
        write_json(scheduler, {**configuration, **stated})
    if kind := stated.get(_CLASS):
        write_json(target / INDEX, {**read_json(base / INDEX), "scheduler": ["diffusers", kind]})


def _disagreements(scheduler: Mapping[str, Any], stated: Mapping[str, Any]) -> list[str]:
    """Return the names of the settings that differ."""
    return [name for name, value in stated.items() if scheduler.get(name, _SCHEDULER_DEFAULTS.get(name)) != value]
