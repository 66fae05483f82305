"""Checkpoints that are one file: laid out once as a folder in the diffusers layout, which everything here reads.

A file names neither its tokenizers nor how its parts are built. Both are those of a base that is known, in ``models`` or of a
family's reference, whose every tensor the file has by the name it was published under and in the same shape.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundation.errors import BadInput
from foundation.files import atomic_directory, read_json, write_json
from foundation.hashing import hash_file
from zthumb import families
from zthumb.naming.clip import inside_text_model
from zthumb.naming.origin import CheckpointKey
from zthumb.sources.download import ROOM, alone
from zthumb.sources.local import INDEX, family_of

if TYPE_CHECKING:
    from torch import Tensor

    from zthumb.families.base import Family

ENDING = ".safetensors"
RECORD = "single_file.json"
"""Beside what was laid out: the file it is of."""
_DIGITS = 12
_WEIGHTS = {"unet": "diffusion_pytorch_model.safetensors", "vae": "diffusion_pytorch_model.safetensors"}
_OTHER_WEIGHTS = "model.safetensors"
_VELOCITY, _ZERO_SNR = "v_pred", "ztsnr"
"""Empty tensors by which a file says that it was trained to predict velocities, with noise at the end of the schedule alone."""


@dataclass(frozen=True)
class _Part:
    """A part of a base, in ``folder``: each tensor's shape, and its place in a published file."""

    folder: Path
    shapes: Mapping[str, tuple[int, ...]]
    origins: Mapping[str, CheckpointKey]

    def misfit(self, stored: Mapping[str, tuple[int, ...]], prefix: str) -> str | None:
        """What of a file with tensors of those shapes is not as this part wants it; None when all is."""
        for name, wanted in self.shapes.items():
            origin = self.origins[name]
            found = stored.get(prefix + origin.name)
            if found is None:
                return f"it lacks {prefix}{origin.name}"
            if not origin.fits(found, wanted):
                return f"{prefix}{origin.name} is {found}, {wanted} was expected"
        return None


def convert_single_file(file: Path, models: Path, known: Sequence[Path], rest: Callable[[Path], Mapping[str, Path]]) -> Path:
    """The folder with the base in ``file``, made below ``models`` unless it is there.

    ``known`` are folders of bases, the likeliest first, and ``rest`` gives the parts of one of them that no single file has.
    ``BadInput`` when none fits or the disk is full.
    """
    folder = models / "unpacked"
    if done := _laid_out(file, folder):
        return done
    stored = _shapes(file)
    base, parts = _fitting(file, stored, known)
    family = families.get(family_of(base))
    others, digest = rest(base), hash_file(file)
    target = folder / f"{file.stem}-{digest[:_DIGITS]}"
    folder.mkdir(parents=True, exist_ok=True)
    with alone(target):
        # Made by another process meanwhile, or of the same file by another path.
        if not (target / INDEX).is_file():
            _check_room(file, folder)
            with atomic_directory(target) as made:
                for part, facts in parts.items():
                    _write_part(file, family.single_file[part], facts, made / part, _WEIGHTS.get(part, _OTHER_WEIGHTS))
                _write_rest(base, others, made, stored)
                write_json(made / RECORD, {"sha256": digest, "files": []})
        _note(file, target / RECORD)
    return target


def convert_single_file_autoencoder(file: Path, base: Path, target: Path) -> None:
    """Write the autoencoder in ``file`` to ``target``, a folder, built as that of ``base``; ``BadInput`` when it is another's."""
    family = families.get(family_of(base))
    (part,) = family.image_components
    stored, facts = _shapes(file), _part(family, base, part)
    # Alone in a file its tensors are called as in a whole checkpoint, as they were published, or as diffusers calls them.
    own = _Part(facts.folder, facts.shapes, {name: CheckpointKey(name) for name in facts.shapes})
    misfits = []
    for candidate, prefix in ((facts, family.single_file[part]), (facts, ""), (own, "")):
        misfit = candidate.misfit(stored, prefix)
        if misfit is None:
            with atomic_directory(target) as made:
                _write_part(file, prefix, candidate, made, _WEIGHTS[part])
            return
        misfits.append(misfit)
    raise BadInput(f"{file}: is no autoencoder for {base}: {misfits[1]}.")


def _laid_out(file: Path, folder: Path) -> Path | None:
    """What was laid out of this very file before."""
    for record in sorted(folder.glob(f"*/{RECORD}")):
        told = read_json(record)
        if _state(file) in told["files"]:
            return record.parent
    return None


def _note(file: Path, record: Path) -> None:
    """Remember that what was laid out is of this file, so that it need not be read to the end again."""
    told = read_json(record)
    others = [each for each in told["files"] if each["path"] != str(file.resolve())]
    write_json(record, {**told, "files": [*others, _state(file)]})


def _state(file: Path) -> dict[str, Any]:
    state = file.stat()
    return {"path": str(file.resolve()), "size": state.st_size, "changed": state.st_mtime_ns}


def _shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of all tensors in ``file``; of its header alone."""
    from safetensors import SafetensorError, safe_open

    if file.suffix != ENDING:
        raise BadInput(f"{file}: a base is a folder in the diffusers layout or a {ENDING} file; others may hold programs.")
    try:
        with safe_open(file, "pt") as opened:
            return {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise BadInput(f"{file}: not a safetensors file: {str(error).splitlines()[0]}") from None


def _fitting(file: Path, stored: Mapping[str, tuple[int, ...]], known: Sequence[Path]) -> tuple[Path, dict[str, _Part]]:
    """The first base whose every part ``stored`` has, and its parts; ``BadInput`` says what is amiss with the nearest."""
    misfits = []
    for base in known:
        family = families.get(family_of(base))
        parts = {part: _part(family, base, part) for part in family.single_file}
        found = [facts.misfit(stored, family.single_file[part]) for part, facts in parts.items()]
        if not any(found):
            return base, parts
        misfits.append((sum(misfit is not None for misfit in found), f"compared with {base.name}, {next(filter(None, found))}"))
    nearest = min(misfits, default=(0, "no base is known"))[1]
    raise BadInput(
        f"{file}: not the checkpoint of a base that is known here: {nearest}. An adapter goes where adapters are named."
    )


def _part(family: Family, base: Path, part: str) -> _Part:
    import torch

    with torch.device("meta"):
        model = family.build_component(part, family.configuration(base, part))
    # Written by the names that every version of transformers finds.
    named = {
        name: name if part == family.denoiser_component or part not in family.adapted_components else inside_text_model(name)
        for name in model.state_dict()
    }
    shapes = {named[name]: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    return _Part(base / part, shapes, {named[name]: origin for name, origin in family.origins(part, model).items()})


def _check_room(file: Path, folder: Path) -> None:
    needed, free = file.stat().st_size + ROOM, shutil.disk_usage(folder).free
    if needed > free:
        raise BadInput(f"{folder}: {file.name} takes {needed} bytes once more to lay out, and {free} are free. Make room first.")


def _write_part(file: Path, prefix: str, facts: _Part, target: Path, name: str) -> None:
    from safetensors import safe_open

    from zthumb.adapters import safetensors_file

    target.mkdir(exist_ok=True)
    shutil.copyfile(facts.folder / "config.json", target / "config.json")
    with safe_open(file, "pt") as opened:

        def read(tensor: str) -> Tensor:
            return facts.origins[tensor].taken(opened.get_tensor(prefix + facts.origins[tensor].name), facts.shapes[tensor])

        kinds = {tensor: opened.get_slice(prefix + origin.name).get_dtype() for tensor, origin in facts.origins.items()}
        shapes = {tensor: (kinds[tensor], shape) for tensor, shape in facts.shapes.items()}
        safetensors_file.write_each(shapes, read, target / name)


def _write_rest(base: Path, others: Mapping[str, Path], made: Path, stored: Mapping[str, Any]) -> None:
    """What the file lacks: the index, the tokenizers and the scheduler, which is told what the file says of itself."""
    shutil.copyfile(base / INDEX, made / INDEX)
    for part, folder in others.items():
        shutil.copytree(folder, made / part)
    scheduler = made / "scheduler" / "scheduler_config.json"
    before = read_json(scheduler)
    told = {
        "prediction_type": "v_prediction" if _VELOCITY in stored else "epsilon",
        "rescale_betas_zero_snr": _ZERO_SNR in stored,
    }
    if any(before.get(name, False) != value for name, value in told.items()):
        write_json(scheduler, {**before, **told})
