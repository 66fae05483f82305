"""Packages whose modules are found by their names: a new family, backend or metric is one new file and no list to edit."""

import importlib
import pkgutil
from collections.abc import Sequence

from foundation.config import nearest
from foundation.errors import BadInput

_NOT_PLUGINS = ("base",)


def names(package: str) -> list[str]:
    """The plugins of ``package``: its modules but ``base``, sorted."""
    folder = importlib.import_module(package).__path__
    return sorted(module.name for module in pkgutil.iter_modules(folder) if module.name not in _NOT_PLUGINS)


def get(package: str, name: str, attribute: str, kind: str) -> object:
    """``attribute`` of the plugin called ``name``; ``BadInput`` speaks of the ``kind`` and names the nearest there is."""
    known = names(package)
    if name not in known:
        raise BadInput(f"no {kind} is called {name!r}. {suggestion(name, known)}")
    plugin: object = getattr(importlib.import_module(f"{package}.{name}"), attribute)
    return plugin


def suggestion(name: str, known: Sequence[str]) -> str:
    """What to write instead of a name that is not ``known``."""
    close = nearest(name, known)
    return f"Did you mean {close!r}?" if close else f"There are: {', '.join(known)}."
