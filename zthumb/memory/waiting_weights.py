"""Weights that wait in main memory, or in a file that is mapped there, until they are copied to a device to compute with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from copy import copy as shallow_copy
from copy import deepcopy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


class WaitingWeights:
    """The frozen weights of ``modules``, which compute on ``device``: they come as copies, so dropping them copies nothing back.

    While they wait, modules have parameters without data, on the meta device, of the dtype that the copies will have: at first
    ``dtype``, or that of the weights themselves. Modules stay what they are: adapters stay injected, trained
    weights where they are.
    """

    def __init__(self, modules: Iterable[nn.Module], device: torch.device, dtype: torch.dtype | None = None) -> None:
        self._device = device
        self._waiting = [
            (module, name, weights)
            for module in modules
            for name, weights in module.named_parameters(recurse=False, remove_duplicate=False)
            if not weights.requires_grad
        ]
        self._absent = {id(weights): _absent(weights, dtype) for _, _, weights in self._waiting}
        self._copies: dict[int, nn.Parameter] = {}
        self.drop()

    def bring(self) -> None:
        """Copy all weights to the device."""
        for _, _, weights in self._waiting:
            if id(weights) not in self._copies:
                self._copies[id(weights)] = self._copy(weights)
        self._set(self._copies)

    def drop(self) -> None:
        """Free the copies."""
        self._copies = {}
        self._set(self._absent)

    def show(self) -> None:
        """Give the modules the weights that wait, where and as they are: to be read, not to compute with."""
        self._set({id(weights): weights for _, _, weights in self._waiting})

    def pin(self) -> None:
        """Lock the weights into main memory, from which a GPU copies them while it computes."""
        for _, _, weights in self._waiting:
            _pin(weights)

    def copies(self) -> Iterator[Tensor]:
        """Yield the tensors that are on the device now; those that quantized weights are made of each by itself."""
        for copy in self._copies.values():
            yield from _plain_tensors(copy)

    def _set(self, parameters: dict[int, nn.Parameter]) -> None:
        for module, name, weights in self._waiting:
            module._parameters[name] = parameters[id(weights)]

    def _copy(self, weights: nn.Parameter) -> nn.Parameter:
        import torch

        with torch.no_grad():
            if not _is_plain(weights):
                # Quantized weights have no dtype to choose.
                copy = _with_own_constants(weights).to(self._device, non_blocking=True)
            else:
                copy = weights.detach().to(self._device, self._absent[id(weights)].dtype, non_blocking=True)
        return copy if isinstance(copy, torch.nn.Parameter) else torch.nn.Parameter(copy, requires_grad=False)


def move(module: nn.Module, device: torch.device) -> None:
    """Move ``module`` to ``device``, but for weights that wait: these come by themselves."""
    module._apply(lambda tensor: tensor if tensor.is_meta else tensor.to(device))  # type: ignore[no-untyped-call]


def _with_own_constants(weights: nn.Parameter) -> nn.Parameter:
    """The weights; bitsandbytes' with constants of their own: moving theirs would take them from the weights that wait."""
    constants: Any = getattr(weights, "quant_state", None)
    if constants is None:
        return weights
    own: Any = shallow_copy(weights)
    own.quant_state = deepcopy(constants)
    return own  # type: ignore[no-any-return]


def _absent(weights: nn.Parameter, dtype: torch.dtype | None) -> nn.Parameter:
    import torch

    chosen = dtype if dtype is not None and _is_plain(weights) else weights.dtype
    return torch.nn.Parameter(torch.empty(weights.shape, dtype=chosen, device="meta"), requires_grad=False)


def _plain_tensors(tensor: Any) -> Iterator[Tensor]:
    if not hasattr(tensor, "__tensor_flatten__"):
        yield tensor
        return
    for name in tensor.__tensor_flatten__()[0]:
        yield from _plain_tensors(getattr(tensor, name))


def _pin(tensor: Any) -> None:
    import torch

    if hasattr(tensor, "__tensor_flatten__"):
        for name in tensor.__tensor_flatten__()[0]:
            inner = getattr(tensor, name)
            if hasattr(inner, "__tensor_flatten__"):
                _pin(inner)
            else:
                setattr(tensor, name, inner.pin_memory())
    elif type(tensor) in (torch.nn.Parameter, torch.Tensor) and not tensor.is_pinned():
        tensor.data = tensor.data.pin_memory()


def _is_plain(weights: nn.Parameter) -> bool:
    """Whether weights are floating-point numbers as torch itself keeps them."""
    import torch

    return type(weights) in (torch.nn.Parameter, torch.Tensor) and weights.is_floating_point()
