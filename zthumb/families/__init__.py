"""What is true of a model family wherever it runs. One module each; a new family is a new module with a ``FAMILY`` in it."""

import importlib
import pkgutil

from foundation.config import nearest
from foundation.errors import BadInput
from zthumb.families.base import Family


def names() -> list[str]:
    """The families there are."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name != "base")


def get(name: str) -> Family:
    """The family called ``name``; ``BadInput`` names the nearest one there is."""
    if name not in names():
        close = nearest(name, names())
        raise BadInput(
            f"no model family is called {name!r}. "
            + (f"Did you mean {close!r}?" if close else f"There are: {', '.join(names())}.")
        )
    family = importlib.import_module(f"{__name__}.{name}").FAMILY
    assert isinstance(family, Family)
    return family
