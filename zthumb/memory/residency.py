"""Which components of a pipeline are on the device while it works: all of them, or each in its turn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Literal

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


class AllResident(Residency):
    """Every component stays on the device."""

    def using(self, components: Sequence[str]) -> AbstractContextManager[None]:  # noqa: ARG002
        """See ``Residency``."""
        return nullcontext()


class Offloaded(Residency):
    """Each component is on the device inside the block alone; outside it has no weights there.

    Weights move and modules stay, so that adapters stay injected. Blocks may be nested.
    """

    def __init__(self, weights: Mapping[str, OffloadedWeights]) -> None:
        self._weights = weights
        self._users = dict.fromkeys(weights, 0)

    @contextmanager
    def using(self, components: Sequence[str]) -> Iterator[None]:
        """See ``Residency``."""
        names = [name for name in components if name in self._weights]
        try:
            for name in names:
                self._users[name] += 1
                if self._users[name] == 1:
                    self._weights[name].bring()
            yield
        finally:
            for name in names:
                self._users[name] = max(0, self._users[name] - 1)
                if not self._users[name]:
                    self._weights[name].drop()


class OffloadedWeights(ABC):
    """The weights of one model, which can be brought to the device and dropped there."""

    @abstractmethod
    def bring(self) -> None:
        """Bring all weights to the device."""

    @abstractmethod
    def drop(self) -> None:
        """Free the memory of all weights on the device."""


class InMainMemory(OffloadedWeights):
    """Weights that wait in main memory for ``device``, another one: dropping them copies nothing back."""

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        self._waiting = _own_parameters(model)
        self._device = device
        for module in model.modules():
            for name, buffer in list(module.named_buffers(recurse=False)):
                module._buffers[name] = buffer.to(device)

    def bring(self) -> None:
        """See ``OffloadedWeights``."""
        import torch

        copies: dict[int, torch.nn.Parameter] = {}
        for module, name, weights in self._waiting:
            if id(weights) not in copies:
                moved = weights.detach().to(self._device, non_blocking=True)
                copies[id(weights)] = torch.nn.Parameter(moved, requires_grad=False)
            module._parameters[name] = copies[id(weights)]

    def drop(self) -> None:
        """See ``OffloadedWeights``."""
        for module, name, weights in self._waiting:
            module._parameters[name] = weights


class OnDisk(OffloadedWeights):
    """Weights that are read again, by ``read``, which returns a model like ``model`` with them, each time they are needed."""

    def __init__(self, model: nn.Module, read: Callable[[], nn.Module]) -> None:
        self._modules = dict(model.named_modules())
        self._read = read

    def bring(self) -> None:
        """See ``OffloadedWeights``."""
        for path, module in self._read().named_modules():
            for name, weights in module.named_parameters(recurse=False):
                self._modules[path]._parameters[name] = weights

    def drop(self) -> None:
        """See ``OffloadedWeights``."""
        import torch

        for module in self._modules.values():
            for name, weights in list(module.named_parameters(recurse=False)):
                empty = torch.empty(weights.shape, dtype=weights.dtype, device="meta")
                module._parameters[name] = torch.nn.Parameter(empty, requires_grad=False)


def _own_parameters(model: nn.Module) -> list[tuple[nn.Module, str, nn.Parameter]]:
    """Each parameter with the module that has it and its name there."""
    return [
        (module, name, weights)
        for module in model.modules()
        for name, weights in module.named_parameters(recurse=False, remove_duplicate=False)
    ]
