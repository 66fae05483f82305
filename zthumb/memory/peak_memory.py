"""Measure how many bytes of tensors exist at once while code runs; on the meta device nothing is allocated for that."""

import weakref
from itertools import accumulate
from typing import Any, Self

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_CHANNELS, _FEW_CHANNELS = 16, 4
"""Channels of a block of oneDNN's, and how many inputs are convolved as they are."""
_DIMENSIONS_OF_VOLUMES = 5
"""Those of (B, channels, depth, height, width)."""


class PeakMemoryTracker(TorchDispatchMode):
    """Count the tensors that operations allocate within the block; ``peak`` is the most bytes that existed at once.

    What a convolution allocates besides its output is counted as on a device of type ``device_type``.
    """

    def __init__(self, device_type: str = "cuda") -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._on_cpu = device_type == "cpu"
        self._current = 0
        self._counted: weakref.WeakSet[Any] = weakref.WeakSet()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        inputs = {id(leaf.untyped_storage()) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        outputs = func(*args, **(kwargs or {}))
        if self._on_cpu and func is torch.ops.aten.convolution.default:
            self.peak = max(self.peak, self._current + _inside_convolution(args[0], args[1], outputs))
        for tensor in tree_leaves(outputs):
            # Views and in-place operations allocate nothing.
            if isinstance(tensor, Tensor) and id(tensor.untyped_storage()) not in inputs:
                self._count(tensor.untyped_storage())
        return outputs

    def _count(self, storage: Any) -> None:
        if storage in self._counted:
            return
        self._counted.add(storage)
        size = storage.nbytes()
        self._current += size
        self.peak = max(self.peak, self._current)
        weakref.finalize(storage, self._release, size)

    def _release(self, size: int) -> None:
        self._current -= size


def _inside_convolution(inputs: Tensor, weight: Tensor, outputs: Tensor) -> int:
    """Return the most bytes that a CPU allocates at once for a convolution, the output among them.

    In two dimensions oneDNN reorders both sides into blocks of channels, in three torch writes out what each output is made of.
    """
    window: int = weight[0, 0].numel()
    if window == 1:
        return outputs.nbytes
    if inputs.ndim == _DIMENSIONS_OF_VOLUMES:
        return outputs.nbytes + outputs.nbytes // outputs.shape[1] * inputs.shape[1] * window
    reordered = _in_blocks(outputs)
    return reordered + max(outputs.nbytes, _in_blocks(inputs) if inputs.shape[1] > _FEW_CHANNELS else 0)


def _in_blocks(tensor: Tensor) -> int:
    channels = tensor.shape[1]
    return tensor.nbytes // channels * (-(-channels // _CHANNELS) * _CHANNELS)


class AllocatorPeak:
    """Measure the most bytes that torch's own allocator gave out at once within the block; ``peak`` is known after it.

    On a CPU it counts every allocation, which makes code several times slower; weights that were there before are not in it.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._profile: Any = profile(activities=[ProfilerActivity.CPU], profile_memory=True)
        self.peak = 0

    def __enter__(self) -> Self:
        if self._device.type == "cpu":
            self._profile.__enter__()
        else:
            self._before = torch.cuda.memory_allocated(self._device)
            torch.cuda.reset_peak_memory_stats(self._device)
        return self

    def __exit__(self, *exception: Any) -> None:
        if self._device.type != "cpu":
            self.peak = torch.cuda.max_memory_allocated(self._device) - self._before
            return
        self._profile.__exit__(*exception)
        events = [event for event in self._profile.profiler.kineto_results.events() if event.name() == "[memory]"]
        sizes = (event.nbytes() for event in sorted(events, key=lambda event: event.start_ns()))
        self.peak = max(accumulate(sizes), default=0)
