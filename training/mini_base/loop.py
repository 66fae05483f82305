"""A resumable training loop: one-cycle rate, averaged weights, checkpoints, a bar with loss and time left."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from foundation.files import whole_file


@dataclass(frozen=True)
class Schedule:
    """How long and how fast one part is trained.

    ``rate`` is the peak of a one-cycle learning rate, ``average`` the decay of the exponential moving average of the weights.
    """

    steps: int
    batch: int
    rate: float
    average: float = 0.999
    weight_decay: float = 0.01
    warm_up: float = 0.05
    save_every: int = 250


class Stateful(Protocol):
    """Anything with a state that a checkpoint keeps."""

    def state_dict(self) -> Any:
        """The state."""

    def load_state_dict(self, state_dict: Any) -> Any:
        """Take a state on."""


Parts = dict[str, Stateful]
Trained = TypeVar("Trained", bound=nn.Module)


def train(
    name: str, model: Trained, loss_at: Callable[[int], Tensor], schedule: Schedule, checkpoint: Path, device: torch.device
) -> Trained:
    """Train ``model`` in place and return its averaged copy.

    ``loss_at(step)`` draws whatever it needs from generators of that step alone, so that a resumed run goes on with the very
    numbers the uninterrupted one would have seen.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(
        parameters, lr=schedule.rate, betas=(0.9, 0.999), weight_decay=schedule.weight_decay, fused=True
    )
    rate = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, schedule.rate, total_steps=schedule.steps + 1, pct_start=schedule.warm_up, cycle_momentum=False
    )
    average = get_ema_multi_avg_fn(schedule.average)  # type: ignore[no-untyped-call]
    averaged = AveragedModel(model, multi_avg_fn=average, use_buffers=True)
    parts: Parts = {"model": model, "averaged": averaged, "optimizer": optimizer, "rate": rate}
    first = _resume(parts, checkpoint, device)
    model.train()
    bar = tqdm(range(first, schedule.steps), desc=name, initial=first, total=schedule.steps, mininterval=5, smoothing=0.05)
    shown = 0.0
    for step in bar:
        with torch.autocast(device.type, torch.bfloat16):
            loss = loss_at(step)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        rate.step()
        averaged.update_parameters(model)
        shown = loss.item() if step == first else 0.98 * shown + 0.02 * loss.item()
        bar.set_postfix(loss=f"{shown:.4f}", refresh=False)
        if (step + 1) % schedule.save_every == 0 or step + 1 == schedule.steps:
            _save(parts, step + 1, checkpoint)
    averaged.eval()
    return cast(Trained, averaged.module)


def _save(parts: Parts, step: int, checkpoint: Path) -> None:
    state = {name: part.state_dict() for name, part in parts.items()}
    with whole_file(checkpoint) as path:
        torch.save({"step": step, **state}, path)


def _resume(parts: Parts, checkpoint: Path, device: torch.device) -> int:
    if not checkpoint.exists():
        return 0
    state = torch.load(checkpoint, map_location=device, weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return int(state["step"])
