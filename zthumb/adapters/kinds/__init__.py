"""How programs factorize a change of weights. One module each; a new kind is a new module with a ``KIND`` in it."""

from functools import cache

from foundation import plugins
from zthumb.adapters.kinds.base import Kind


@cache
def all_kinds() -> dict[str, Kind]:
    """Return every kind by its name."""
    return {name: get(name) for name in plugins.names(__name__)}


def get(name: str) -> Kind:
    """Return the kind called ``name``."""
    kind = plugins.get(__name__, name, "KIND", "kind of adapter")
    assert isinstance(kind, Kind)
    return kind
