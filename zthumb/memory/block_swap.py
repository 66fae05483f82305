"""Repeated blocks of a model whose weights are on the device only while they compute: block swap, for generating and training.

In a step of training, autograd keeps the weights of each block that it needs for the backward pass: with gradient checkpointing,
those of one block at a time, which comes again to be computed again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from zthumb.memory.waiting_weights import WaitingWeights

if TYPE_CHECKING:
    import torch
    from torch import nn

WINDOW = 2
"""How many swapped blocks a GPU has at once: the next is copied while one computes."""


def blocks_of(model: nn.Module) -> list[nn.Module]:
    """Return the blocks in lists that ``model`` repeats, of the classes that diffusers or transformers name for it."""
    from torch.nn import ModuleList

    names = set(getattr(model, "_repeated_blocks", None) or getattr(model, "_no_split_modules", None) or ())
    lists = (module for module in model.modules() if isinstance(module, ModuleList))
    return [block for blocks in lists for block in blocks if type(block).__name__ in names]


def layers_in_blocks(model: nn.Module) -> dict[str, nn.Linear]:
    """Return by path the linear layers in the blocks of ``model``, which are most of its weights."""
    from torch.nn import Linear

    inside = {module for block in blocks_of(model) for module in block.modules()}
    return {name: module for name, module in model.named_modules() if type(module) is Linear and module in inside}


def spread(blocks: int, count: int) -> list[int]:
    """Return which ``count`` of so many ``blocks`` are swapped: evenly spread, so that others compute during each transfer."""
    return [(2 * index + 1) * blocks // (2 * count) for index in range(count)]


def chosen_blocks(model: nn.Module, count: int) -> list[nn.Module]:
    """Return the ``count`` of the blocks of ``model`` that are swapped."""
    blocks = blocks_of(model)
    return [blocks[index] for index in spread(len(blocks), count)]


def swap_blocks(model: nn.Module, count: int, device: torch.device, dtype: torch.dtype | None = None) -> BlockSwap:
    """Swap ``count`` of the blocks of ``model``, which compute on ``device``, in ``dtype`` or in that of their weights."""
    kind = _PrefetchedBlockSwap if device.type == "cuda" else BlockSwap
    return kind(chosen_blocks(model, count), device, dtype)


class BlockSwap:
    """Brings each of ``blocks`` before its forward pass and drops it after."""

    def __init__(self, blocks: Sequence[nn.Module], device: torch.device, dtype: torch.dtype | None) -> None:
        self._weights = {block: WaitingWeights(block.modules(), device, dtype) for block in blocks}
        for block in blocks:
            block.register_forward_pre_hook(self._before)
            block.register_forward_hook(self._after, always_call=True)

    @property
    def modules(self) -> set[nn.Module]:
        """The modules whose weights are swapped."""
        return {module for block in self._weights for module in block.modules()}

    def show(self) -> None:
        """Give all blocks the weights that wait, to be read; ``drop`` ends it."""
        for weights in self._weights.values():
            weights.show()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Let all blocks have the weights that wait inside the block, to be read."""
        self.show()
        try:
            yield
        finally:
            self.drop()

    def drop(self) -> None:
        """Leave no block on the device."""
        for weights in self._weights.values():
            weights.drop()

    def _before(self, block: nn.Module, _: Any) -> None:
        self._weights[block].bring()

    def _after(self, block: nn.Module, *_: Any) -> None:
        self._weights[block].drop()


class _PrefetchedBlockSwap(BlockSwap):
    """Copies the next block to a GPU while one computes.

    Which comes next is known from the last time: by the last two blocks, since a backward pass goes the other way. A block is
    dropped when the GPU has finished it; the program, which is ahead of the GPU, waits for that, or copies would pile up.
    """

    def __init__(self, blocks: Sequence[nn.Module], device: torch.device, dtype: torch.dtype | None) -> None:
        import torch

        super().__init__(blocks, device, dtype)
        for weights in self._weights.values():
            weights.pin()
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._next: dict[tuple[nn.Module | None, nn.Module | None], nn.Module] = {}
        self._last: tuple[nn.Module | None, nn.Module | None] = (None, None)
        self._ahead: nn.Module | None = None
        self._finished: tuple[nn.Module, torch.cuda.Event] | None = None

    def drop(self) -> None:
        """See ``BlockSwap``."""
        self._wait_for_finished()
        super().drop()
        self._ahead, self._last = None, (None, None)

    def _before(self, block: nn.Module, _: Any) -> None:
        import torch

        self._wait_for_finished()
        if self._ahead is not block:
            if self._ahead is not None:
                self._weights[self._ahead].drop()
            self._copy(block)
        computing = torch.cuda.current_stream(self._stream.device)
        computing.wait_stream(self._stream)
        for copy in self._weights[block].copies():
            copy.record_stream(computing)
        self._next[self._last] = block
        self._last = (self._last[1], block)
        self._ahead = None

    def _after(self, block: nn.Module, *_: Any) -> None:
        import torch

        self._finished = (block, torch.cuda.current_stream(self._stream.device).record_event())
        # Not before the block's own work is queued: copying what cannot be pinned makes the program wait.
        following = self._next.get(self._last)
        if following is not None and following is not block:
            self._ahead = following
            self._copy(following)

    def _copy(self, block: nn.Module) -> None:
        import torch

        with torch.cuda.stream(self._stream):
            self._weights[block].bring()

    def _wait_for_finished(self) -> None:
        if self._finished is not None:
            block, event = self._finished
            event.synchronize()
            self._weights[block].drop()
            self._finished = None
