"""When the components of a pipeline have their weights on the device."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

Using = Callable[[Sequence[str]], AbstractContextManager[None]]
"""Has the components of the given names on the device inside its block; elsewhere they may have no weights."""


def always_there(_: Sequence[str]) -> AbstractContextManager[None]:
    """A ``Using`` of components that stay on the device."""
    return nullcontext()
