"""A resumable training loop: one-cycle rate, averaged weights, checkpoints, a bar with loss and time left."""

import gc
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from foundation.files import atomic_file

_SHOW_EVERY = 25


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
Tensors = tuple[Tensor, ...]


@dataclass(frozen=True)
class Task(Dataset[Tensors]):
    """What there is to learn: ``batch_at`` draws a step's batch, ``loss`` is what the model in it makes of one.

    ``batch_at(step)`` takes all that is random from generators of that step alone, so that a resumed run goes on with the very
    numbers the uninterrupted one would have seen. ``loss`` is a module that takes a batch's tensors and gives one number.
    """

    batch_at: Callable[[int], Tensors]
    loss: nn.Module

    def __getitem__(self, step: int) -> Tensors:
        return self.batch_at(step)


def train(name: str, model: Trained, task: Task, schedule: Schedule, checkpoint: Path, device: torch.device) -> Trained:
    """Train ``model`` in place, by the loss of ``task``, and return its averaged copy."""
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
    if first < schedule.steps:
        task.loss.train()
        batches = _batches(task, range(first, schedule.steps), device)
        loss_of = _recorded(task, device)
        bar = tqdm(batches, desc=name, initial=first, total=schedule.steps, mininterval=5, smoothing=0.05)
        for step, batch in enumerate(bar, start=first):
            with faster(device):
                loss = loss_of(*batch)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            rate.step()
            averaged.update_parameters(model)
            if step % _SHOW_EVERY == 0:
                bar.set_postfix(loss=f"{loss.item():.4f}", refresh=False)
            if (step + 1) % schedule.save_every == 0 or step + 1 == schedule.steps:
                _save(parts, step + 1, checkpoint)
    averaged.eval()
    return cast(Trained, averaged.module)


def faster(device: torch.device) -> torch.autocast:
    """The context to compute in: bf16 on a GPU; fp32 on a CPU, of which most have no bf16 and take ten times as long for it."""
    # A recorded graph must not refer to casts that an earlier call has kept.
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda", cache_enabled=False)


def _batches(task: Task, steps: range, device: torch.device) -> Iterator[Tensors]:
    """The batches of ``steps`` on ``device``; for a GPU other processes draw them, or it would wait for each."""
    on_gpu = device.type == "cuda"
    gc.collect()  # graphs of parts trained before; a process that is forked with such leftovers dies of collecting them
    workers = min(12, max(1, (os.cpu_count() or 1) - 2)) if on_gpu else 0
    ahead = 4 if workers else None
    loader = DataLoader(task, batch_size=None, sampler=steps, num_workers=workers, prefetch_factor=ahead, pin_memory=on_gpu)
    for batch in loader:
        yield tuple(part.to(device, non_blocking=True) for part in batch)


def _recorded(task: Task, device: torch.device) -> Callable[..., Tensor]:
    """The loss, on a GPU recorded as one graph of kernels: of a model this small, launching them one by one takes longest."""
    if device.type != "cuda":
        return task.loss
    sample = tuple(part.to(device) for part in task.batch_at(0))
    with faster(device):
        recorded = torch.cuda.make_graphed_callables(task.loss, sample, allow_unused_input=True)
    return cast(Callable[..., Tensor], recorded)


def _save(parts: Parts, step: int, checkpoint: Path) -> None:
    state = {name: part.state_dict() for name, part in parts.items()}
    with atomic_file(checkpoint) as path:
        torch.save({"step": step, **state}, path)


def _resume(parts: Parts, checkpoint: Path, device: torch.device) -> int:
    if not checkpoint.exists():
        return 0
    state = torch.load(checkpoint, map_location=device, weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return int(state["step"])
