"""Packages whose modules are found by name: a new family, backend or metric is one new file, with no list to edit."""

import importlib
import pkgutil
from collections.abc import Sequence

from foundation.config import nearest
from foundation.errors import BadInput

_NOT_PLUGINS = ("base",)


def names(package: str) -> list[str]:
    """Return the names of the plugins of ``package``: its modules except ``base``, sorted. Packages in it are none."""
    folder = importlib.import_module(package).__path__
    modules = [module.name for module in pkgutil.iter_modules(folder) if not module.ispkg]
    return sorted(name for name in modules if name not in _NOT_PLUGINS)


def get(package: str, name: str, attribute: str, kind: str) -> object:
    """Return ``attribute`` of the plugin ``name``.

    Raises ``BadInput`` that calls the plugin a ``kind`` and names the nearest one there is.
    """
    known = names(package)
    if name not in known:
        raise BadInput(f"no {kind} is called {name!r}. {suggestion(name, known)}")
    plugin: object = getattr(importlib.import_module(f"{package}.{name}"), attribute)
    return plugin


def suggestion(name: str, known: Sequence[str]) -> str:
    """Return a sentence that suggests the nearest of the ``known`` names for an unknown one, or lists them."""
    close = nearest(name, known)
    return f"Did you mean {close!r}?" if close else f"There are: {', '.join(known)}."
