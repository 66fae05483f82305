"""A resumable training loop: one-cycle learning rate, EMA weights, checkpoints, a progress bar with loss and remaining time.

Matrices that a task names are trained by Muon: a transformer of this size needs half the steps then.
"""

import contextlib
import gc
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from foundation.files import atomic_file

_SHOW_EVERY = 25
_MATRIX_RATE = 5.0
"""The learning rate of Muon divided by that of AdamW, where both are scaled to updates of the same size."""


@dataclass(frozen=True)
class Schedule:
    """How long and at which learning rate one model is trained.

    ``rate`` is the peak of a one-cycle learning rate, ``warm_up`` the share of the steps before the peak, ``average`` the decay
    of the exponential moving average of the weights. Names of build folders hash the fields, so renaming one would discard
    checkpoints.
    """

    steps: int
    batch: int
    rate: float
    average: float = 0.999
    weight_decay: float = 0.01
    warm_up: float = 0.05
    save_every: int = 250


class Stateful(Protocol):
    """Anything with a state that a checkpoint holds."""

    def state_dict(self) -> Any:
        """Return the state."""

    def load_state_dict(self, state_dict: Any) -> Any:
        """Restore a state."""


Checkpointed = dict[str, Stateful]
ModelT = TypeVar("ModelT", bound=nn.Module)
Tensors = tuple[Tensor, ...]


@dataclass(frozen=True)
class Task(Dataset[Tensors]):
    """What is trained: ``batch_at`` draws the batch of a step, ``loss`` wraps the model and computes the loss of a batch.

    ``batch_at(step)`` draws everything random from generators seeded for that step alone, so that a resumed run sees the very
    numbers that the uninterrupted run would have seen. ``loss`` is a module that takes a batch's tensors and returns a scalar.
    """

    batch_at: Callable[[int], Tensors]
    loss: nn.Module
    matrices: Sequence[nn.Parameter] = ()
    """Weights of layers inside a transformer, which Muon trains."""

    def __getitem__(self, step: int) -> Tensors:
        return self.batch_at(step)


def train(name: str, model: ModelT, task: Task, schedule: Schedule, checkpoint: Path, device: torch.device) -> ModelT:
    """Train ``model`` in place on ``task`` and return its EMA copy."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizers = _make_optimizers(parameters, task.matrices, schedule)
    lr_schedulers = {name: _one_cycle(optimizer, schedule) for name, optimizer in optimizers.items()}
    update_ema = get_ema_multi_avg_fn(schedule.average)  # type: ignore[no-untyped-call]
    ema = AveragedModel(model, multi_avg_fn=update_ema, use_buffers=True)
    rates = {f"rate of {name}": lr_scheduler for name, lr_scheduler in lr_schedulers.items()}
    checkpointed: Checkpointed = {"model": model, "averaged": ema, **optimizers, **rates}
    first_step = _resume(checkpointed, checkpoint, device)
    if first_step < schedule.steps:
        task.loss.train()
        batches = _load_batches(task, range(first_step, schedule.steps), device)
        compute_loss = _capture_graph(task, device)
        progress = tqdm(batches, desc=name, initial=first_step, total=schedule.steps, mininterval=5, smoothing=0.05)
        for step, batch in enumerate(progress, start=first_step):
            with autocast(device), plain_attention(device):
                loss = compute_loss(*batch)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            for name, optimizer in optimizers.items():
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                lr_schedulers[name].step()
            ema.update_parameters(model)
            if step % _SHOW_EVERY == 0:
                progress.set_postfix(loss=f"{loss.item():.4f}", refresh=False)
            if (step + 1) % schedule.save_every == 0 or step + 1 == schedule.steps:
                _save(checkpointed, step + 1, checkpoint)
    ema.eval()
    return cast(ModelT, ema.module)


def _make_optimizers(
    parameters: Sequence[nn.Parameter], matrices: Sequence[nn.Parameter], schedule: Schedule
) -> dict[str, torch.optim.Optimizer]:
    """Return AdamW, and Muon (https://kellerjordan.github.io/posts/muon) for ``matrices`` if there are any."""
    chosen = {id(matrix) for matrix in matrices}
    others = [parameter for parameter in parameters if id(parameter) not in chosen]
    adamw = torch.optim.AdamW(others, lr=schedule.rate, betas=(0.9, 0.999), weight_decay=schedule.weight_decay, fused=True)
    if not chosen:
        return {"adamw": adamw}
    rate = _MATRIX_RATE * schedule.rate
    # Its updates have the size of AdamW's (arXiv 2502.16982, section 2.2).
    muon = torch.optim.Muon(list(matrices), lr=rate, weight_decay=schedule.weight_decay, adjust_lr_fn="match_rms_adamw")
    return {"adamw": adamw, "muon": muon}


def _one_cycle(optimizer: torch.optim.Optimizer, schedule: Schedule) -> torch.optim.lr_scheduler.OneCycleLR:
    peaks = [group["lr"] for group in optimizer.param_groups]
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer, peaks, total_steps=schedule.steps + 1, pct_start=schedule.warm_up, cycle_momentum=False
    )


def autocast(device: torch.device) -> torch.autocast:
    """Return the autocast context: bf16 on a GPU, and on a CPU that has instructions for it; others take ten times as long."""
    is_fast = device.type == "cuda" or bool(torch.cpu.get_capabilities().get("avx512_bf16"))
    # A captured CUDA graph must not refer to casts that an earlier call has cached.
    return torch.autocast(device.type, torch.bfloat16, enabled=is_fast, cache_enabled=device.type != "cuda")


def plain_attention(device: torch.device) -> contextlib.AbstractContextManager[None]:
    """Return the context in which attention is computed as matrix products on a CPU, where fused attention in bf16 is slow."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else contextlib.nullcontext()


def _load_batches(task: Task, steps: range, device: torch.device) -> Iterator[Tensors]:
    """Yield the batches of ``steps`` on ``device``; for a GPU worker processes draw them, or it would wait for each batch."""
    on_gpu = device.type == "cuda"
    gc.collect()  # frees CUDA graphs of models trained before: a forked process that inherits them crashes when collecting them
    workers = min(12, max(1, (os.cpu_count() or 1) - 2)) if on_gpu else 0
    prefetch = 4 if workers else None
    loader = DataLoader(task, batch_size=None, sampler=steps, num_workers=workers, prefetch_factor=prefetch, pin_memory=on_gpu)
    for batch in loader:
        yield tuple(tensor.to(device, non_blocking=True) for tensor in batch)


def _capture_graph(task: Task, device: torch.device) -> Callable[..., Tensor]:
    """Return the loss, on a GPU captured as a CUDA graph: for a model this small, launching kernels one by one takes longest."""
    if device.type != "cuda":
        return task.loss
    sample = tuple(tensor.to(device) for tensor in task.batch_at(0))
    with autocast(device):
        captured = torch.cuda.make_graphed_callables(task.loss, sample, allow_unused_input=True)
    return cast(Callable[..., Tensor], captured)


def _save(checkpointed: Checkpointed, step: int, checkpoint: Path) -> None:
    state = {name: item.state_dict() for name, item in checkpointed.items()}
    with atomic_file(checkpoint) as path:
        torch.save({"step": step, **state}, path)


def _resume(checkpointed: Checkpointed, checkpoint: Path, device: torch.device) -> int:
    if not checkpoint.exists():
        return 0
    state = torch.load(checkpoint, map_location=device, weights_only=True)
    for name, item in checkpointed.items():
        item.load_state_dict(state[name])
    return int(state["step"])
