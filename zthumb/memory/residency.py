"""Which components of a pipeline are on the device while it works: all of them, or each in its turn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Literal

from zthumb.memory.block_swap import swap_blocks
from zthumb.memory.waiting_weights import WaitingWeights

if TYPE_CHECKING:
    import torch
    from torch import nn

Placement = Literal["resident", "offload"]
"""``resident`` keeps every component on the device. With ``offload`` each is there while it works, and none besides it."""


class Residency(ABC):
    """Brings components to the device for as long as they are used."""

    @abstractmethod
    def using(self, components: Sequence[str]) -> AbstractContextManager[None]:
        """Have ``components`` on the device inside the block."""

    @abstractmethod
    def reading(self, components: Sequence[str]) -> AbstractContextManager[None]:
        """Have the weights of ``components`` somewhere inside the block, to be read; nothing computes with them there."""


class AllResident(Residency):
    """Every component stays on the device."""

    def using(self, components: Sequence[str]) -> AbstractContextManager[None]:  # noqa: ARG002
        """See ``Residency``."""
        return nullcontext()

    reading = using


class Offloaded(Residency):
    """Each component has its weights on the device inside the block alone. Blocks of ``using`` may be nested."""

    def __init__(self, models: Mapping[str, OffloadedModel]) -> None:
        self._models = models
        self._users = dict.fromkeys(models, 0)

    @contextmanager
    def using(self, components: Sequence[str]) -> Iterator[None]:
        """See ``Residency``."""
        names = [name for name in components if name in self._models]
        try:
            for name in names:
                self._users[name] += 1
                if self._users[name] == 1:
                    self._models[name].bring()
            yield
        finally:
            for name in names:
                self._users[name] = max(0, self._users[name] - 1)
                if not self._users[name]:
                    self._models[name].drop()

    @contextmanager
    def reading(self, components: Sequence[str]) -> Iterator[None]:
        """See ``Residency``."""
        names = [name for name in components if name in self._models]
        try:
            for name in names:
                self._models[name].show()
            yield
        finally:
            for name in names:
                # Inside a block of ``using`` they are on the device as before.
                if self._users[name]:
                    self._models[name].bring()
                else:
                    self._models[name].drop()


class OffloadedModel:
    """A model whose weights wait, and can be brought to ``device`` and dropped there.

    They are brought in ``dtype``, or in their own; ``blocks_to_swap`` of its blocks are there only while they compute.
    """

    def __init__(self, model: nn.Module, device: torch.device, dtype: torch.dtype | None = None, blocks_to_swap: int = 0) -> None:
        self._swap = swap_blocks(model, blocks_to_swap, device, dtype)
        swapped = self._swap.modules
        self._rest = WaitingWeights((module for module in model.modules() if module not in swapped), device, dtype)
        for module in model.modules():
            for name, buffer in list(module.named_buffers(recurse=False)):
                # Those that are computed and not loaded keep their precision.
                is_loaded = name not in module._non_persistent_buffers_set and buffer.is_floating_point()
                module._buffers[name] = buffer.to(device, dtype if is_loaded else None)

    def bring(self) -> None:
        """Bring all weights to the device, but for the swapped blocks, which come by themselves."""
        self._rest.bring()

    def drop(self) -> None:
        """Leave no weights on the device."""
        self._rest.drop()
        self._swap.drop()

    def show(self) -> None:
        """Give all modules the weights that wait, to be read; ``drop`` ends it."""
        self._rest.show()
        self._swap.show()
