"""Checkpoints: everything a run needs to resume as if it had never stopped, in folders that are complete or missing."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundation.files import atomic_directory, read_json, write_json
from foundation.hashing import hash_files

if TYPE_CHECKING:
    from torch import Tensor

    from foundation.manifest import Stage

ADAPTER = "adapter.safetensors"
_TRAINING, _STATE = "training.pt", "state.json"


@dataclass(frozen=True)
class Checkpoint:
    """A finished checkpoint after ``step`` steps.

    ``inputs`` are the hashes of what is learned from, ``settings`` the recipe's values that decide what is learned,
    ``fingerprint`` one hash of both; ``files`` are the hashes of its own files.
    """

    folder: Path
    step: int
    fingerprint: str
    inputs: Mapping[str, str]
    settings: Mapping[str, Any]
    files: Mapping[str, str]

    @property
    def adapter_file(self) -> Path:
        """The file of the adapter's weights."""
        return self.folder / ADAPTER

    @property
    def is_valid(self) -> bool:
        """Whether every file is as it was written."""
        hashes = hash_files(self.folder)
        return all(hashes.get(name) == digest for name, digest in self.files.items())

    def adapter(self) -> dict[str, Tensor]:
        """Return the weights that are exported, averaged if the recipe says so, by PEFT name."""
        from safetensors.torch import load_file

        weights: dict[str, Tensor] = load_file(self.adapter_file)
        return weights

    def training(self) -> dict[str, Any]:
        """Return what training resumes from: trained weights, optimizer state and averaged weights."""
        import torch

        state: dict[str, Any] = torch.load(self.folder / _TRAINING, map_location="cpu", weights_only=True)
        return state


def save(folder: Path, step: int, resume_key: Stage, adapter: dict[str, Tensor], training: dict[str, Any]) -> Checkpoint:
    """Write the checkpoint of ``step`` below ``folder``; checkpoints are resumed only if ``resume_key`` matches.

    The only random state is the seed: every generator is derived from it, the step and the image's index in the step.
    """
    import torch
    from safetensors.torch import save_file

    target = folder / f"step-{step:06d}"
    with atomic_directory(target) as temporary:
        save_file({name: weight.contiguous() for name, weight in sorted(adapter.items())}, temporary / ADAPTER)
        torch.save(training, temporary / _TRAINING)
        state = {
            "step": step,
            "fingerprint": resume_key.fingerprint,
            "inputs": dict(resume_key.inputs),
            "settings": dict(resume_key.settings),
            "seed": resume_key.seed,
            "files": hash_files(temporary),
        }
        write_json(temporary / _STATE, state)
    return _read(target)


def remove_old(folder: Path, latest: int, best: int | None) -> None:
    """Remove all but the ``latest`` checkpoints and that of the step ``best``."""
    for checkpoint in read_checkpoints(folder)[:-latest]:
        if checkpoint.step != best:
            _remove(checkpoint)


def read_checkpoints(folder: Path) -> list[Checkpoint]:
    """Return the finished checkpoints below ``folder``, the latest last, without those whose state cannot be read."""
    checkpoints = []
    for path in sorted(folder.glob(f"step-*/{_STATE}")):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            checkpoints.append(_read(path.parent))
    return checkpoints


def _read(folder: Path) -> Checkpoint:
    state = read_json(folder / _STATE)
    return Checkpoint(folder, *(state[name] for name in ("step", "fingerprint", "inputs", "settings", "files")))


def _remove(checkpoint: Checkpoint) -> None:
    # Renamed first: a removal that is killed half-way must not leave half a checkpoint.
    renamed = checkpoint.folder.with_name(f".{checkpoint.folder.name}.old")
    shutil.rmtree(renamed, ignore_errors=True)
    checkpoint.folder.replace(renamed)
    shutil.rmtree(renamed)
