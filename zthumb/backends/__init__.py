"""How a family is run here. One module each; a new backend is a new module with a ``Backend`` in it."""

from foundation import plugins
from zthumb.backends.base import BaseBackend


def names() -> list[str]:
    """The backends there are."""
    return plugins.names(__name__)


def get(name: str) -> type[BaseBackend]:
    """The backend called ``name``; ``BadInput`` names the nearest one there is."""
    backend = plugins.get(__name__, name, "Backend", "backend")
    assert isinstance(backend, type)
    assert issubclass(backend, BaseBackend)
    return backend
