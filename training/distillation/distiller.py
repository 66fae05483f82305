"""Train a small text encoder to give the states of a large one (arXiv 2503.19897), resumable to the bit."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from foundation.files import atomic_file
from foundation.seeds import derive

_WARM_UP = 0.05
"""The share of steps in which the learning rate rises."""
_CLIP = 1.0


@dataclass(frozen=True)
class Schedule:
    """How long, on how many captions at once, and at which learning rate at most."""

    steps: int
    batch: int
    rate: float
    save_every: int = 250


class Distiller:
    """Trains ``student`` on what ``teacher`` gives for the tokens of captions; both map (B, length) to states (B, length, width).

    ``tokenize`` returns the tokens of captions, on any device.
    """

    def __init__(
        self, student: nn.Module, teacher: nn.Module, tokenize: Callable[[Sequence[str]], Tensor], device: torch.device, seed: int
    ) -> None:
        self._student, self._teacher = student.to(device).float(), teacher
        self._tokenize, self._device, self._seed = tokenize, device, seed

    def train(
        self, captions: Sequence[str], schedule: Schedule, checkpoint: Path, key: str, on_step: Callable[[int, float], None]
    ) -> None:
        """Train to the end of ``schedule``, from ``checkpoint`` if it was written for the same ``key``; it is kept up to date."""
        optimizer = torch.optim.AdamW(self._student.parameters(), lr=schedule.rate, weight_decay=0.01, fused=True)
        first = self._resume(optimizer, checkpoint, key)
        self._student.train()
        for step in range(first, schedule.steps):
            for group in optimizer.param_groups:
                group["lr"] = schedule.rate * _share_of_rate((step + 1) / schedule.steps)
            # All that is drawn depends on the step alone, dropout too.
            torch.manual_seed(derive(self._seed, "distillation", step))
            drawn = random.Random(derive(self._seed, "captions", step)).choices(captions, k=schedule.batch)
            loss = self._loss(drawn)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(self._student.parameters(), _CLIP)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            on_step(step + 1, float(loss.detach()))
            if (step + 1) % schedule.save_every == 0 or step + 1 == schedule.steps:
                self._save(optimizer, step + 1, checkpoint, key)

    @torch.no_grad()
    def error(self, captions: Sequence[str], batch: int) -> float:
        """Return how far the student's states are from the teacher's on ``captions``, relative to their norm."""
        self._student.eval()
        wanted, squared = 0.0, 0.0
        for start in range(0, len(captions), batch):
            states, expected = self._states(captions[start : start + batch])
            squared += float((states - expected).square().sum())
            wanted += float(expected.square().sum())
        return math.sqrt(squared / wanted)

    def _loss(self, captions: Sequence[str]) -> Tensor:
        states, expected = self._states(captions)
        return (states - expected).square().sum() / expected.square().sum()

    def _states(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        tokens = self._tokenize(captions).to(self._device)
        with torch.no_grad():
            expected: Tensor = self._teacher(tokens)[0].float()
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._device.type == "cuda"):
            states: Tensor = self._student(tokens)[0]
        return states.float(), expected

    def _save(self, optimizer: torch.optim.Optimizer, step: int, checkpoint: Path, key: str) -> None:
        state = {"key": key, "step": step, "student": self._student.state_dict(), "optimizer": optimizer.state_dict()}
        with atomic_file(checkpoint) as path:
            torch.save(state, path)

    def _resume(self, optimizer: torch.optim.Optimizer, checkpoint: Path, key: str) -> int:
        if not checkpoint.is_file():
            return 0
        state: dict[str, Any] = torch.load(checkpoint, map_location=self._device, weights_only=True)
        if state["key"] != key:
            return 0
        self._student.load_state_dict(state["student"])
        optimizer.load_state_dict(state["optimizer"])
        return int(state["step"])


def _share_of_rate(progress: float) -> float:
    """A linear warm-up, then half a cosine to zero."""
    if progress < _WARM_UP:
        return progress / _WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (progress - _WARM_UP) / (1 - _WARM_UP)))
