"""What a denoiser predicted, recorded to be predicted again by the same denoiser in fewer bits, or with an adapter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map


class Predictions:
    """The inputs of some calls of a denoiser, and what it returned, float32."""

    def __init__(self) -> None:
        self._inputs: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        self.expected: list[Tensor] = []

    @contextmanager
    def record(self, denoiser: Any, every: int) -> Iterator[None]:
        """Record one of ``every`` calls inside the block."""
        calls = 0

        def note(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            nonlocal calls
            if calls % every == 0:
                self._inputs.append((args, kwargs))
                self.expected.append(_predicted(output))
            calls += 1

        handle = denoiser.register_forward_hook(note, with_kwargs=True)
        try:
            yield
        finally:
            handle.remove()

    @torch.no_grad()
    def again(self, denoiser: Any) -> list[Tensor]:
        """Return what ``denoiser`` predicts for the same inputs, in its own precision."""
        dtype = next(denoiser.parameters()).dtype

        def cast(value: Any) -> Any:
            return value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value

        return [_predicted(denoiser(*tree_map(cast, args), **tree_map(cast, kwargs))) for args, kwargs in self._inputs]

    def error(self, denoiser: Any) -> float:
        """Return the root mean square difference of what ``denoiser`` predicts from what was recorded, relative to it."""
        differences = [found - expected for found, expected in zip(self.again(denoiser), self.expected, strict=True)]
        return norm(differences) / norm(self.expected)


def norm(tensors: Sequence[Tensor]) -> float:
    """Return the norm of all numbers of ``tensors``."""
    return float(sum(float(tensor.double().square().sum()) for tensor in tensors) ** 0.5)


def _predicted(output: Any) -> Tensor:
    first = output[0] if isinstance(output, tuple) else output.sample
    return (torch.stack(list(first)) if isinstance(first, list) else first).float()
