"""Checkpoints: everything a run needs to go on as if it had never stopped, in folders that are whole or not there."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundation.files import read_json, whole_folder, write_json

if TYPE_CHECKING:
    from torch import Tensor

_ADAPTER, _OPTIMIZER, _STATE = "adapter.safetensors", "optimizer.pt", "state.json"


@dataclass(frozen=True)
class Checkpoint:
    """A finished checkpoint: ``step`` steps are done. ``fingerprint`` tells of which inputs and recipe."""

    folder: Path
    step: int
    fingerprint: str

    @property
    def adapter_file(self) -> Path:
        """The file of the adapter's weights."""
        return self.folder / _ADAPTER

    def adapter(self) -> dict[str, Tensor]:
        """The adapter's weights by PEFT name."""
        from safetensors.torch import load_file

        weights: dict[str, Tensor] = load_file(self.adapter_file)
        return weights

    def optimizer(self) -> dict[str, Any]:
        """The optimizer's state."""
        import torch

        state: dict[str, Any] = torch.load(self.folder / _OPTIMIZER, weights_only=True)
        return state


def save(
    folder: Path, step: int, fingerprint: str, adapter: dict[str, Tensor], optimizer: dict[str, Any], keep: int
) -> Checkpoint:
    """Write the checkpoint of ``step`` below ``folder`` and drop all but the ``keep`` latest."""
    import torch
    from safetensors.torch import save_file

    target = folder / f"step-{step:06d}"
    with whole_folder(target) as temporary:
        save_file({name: weight.contiguous() for name, weight in sorted(adapter.items())}, temporary / _ADAPTER)
        torch.save(optimizer, temporary / _OPTIMIZER)
        write_json(temporary / _STATE, {"step": step, "fingerprint": fingerprint})
    for old in found(folder)[:-keep]:
        _remove(old)
    return Checkpoint(target, step, fingerprint)


def forget_others(folder: Path, fingerprint: str) -> None:
    """Remove the checkpoints of other inputs or another recipe, which the run in ``folder`` was started with before."""
    for checkpoint in found(folder):
        if checkpoint.fingerprint != fingerprint:
            _remove(checkpoint)


def found(folder: Path) -> list[Checkpoint]:
    """The finished checkpoints below ``folder``, the latest last."""
    states = sorted(folder.glob(f"step-*/{_STATE}"))
    return [Checkpoint(path.parent, **read_json(path)) for path in states]


def _remove(checkpoint: Checkpoint) -> None:
    # Out of sight first: a removal that is killed half-way must not leave half a checkpoint.
    aside = checkpoint.folder.with_name(f".{checkpoint.folder.name}.old")
    shutil.rmtree(aside, ignore_errors=True)
    checkpoint.folder.replace(aside)
    shutil.rmtree(aside)
