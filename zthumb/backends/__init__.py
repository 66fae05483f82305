"""How a family is run here. One module each; a new backend is a new module with a ``Backend`` in it."""

import importlib
import pkgutil
from typing import TYPE_CHECKING

from foundation.config import nearest
from foundation.errors import BadInput

if TYPE_CHECKING:
    from zthumb.backends.base import BaseBackend


def names() -> list[str]:
    """The backends there are."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name != "base")


def get(name: str) -> "type[BaseBackend]":
    """The backend called ``name``; ``BadInput`` names the nearest one there is."""
    if name not in names():
        close = nearest(name, names())
        raise BadInput(
            f"no backend is called {name!r}. " + (f"Did you mean {close!r}?" if close else f"There are: {', '.join(names())}.")
        )
    backend: type[BaseBackend] = importlib.import_module(f"{__name__}.{name}").Backend
    return backend
