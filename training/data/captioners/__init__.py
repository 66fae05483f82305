"""Models that put an image into words. One module each; a new captioner is a new module with a ``CAPTIONER`` in it."""

from foundation import plugins
from training.data.captioners.base import Captioner


def names() -> list[str]:
    """The captioners there are."""
    return plugins.names(__name__)


def get(name: str) -> type[Captioner]:
    """The captioner called ``name``; ``BadInput`` names the nearest one there is."""
    found = plugins.get(__name__, name, "CAPTIONER", "captioner")
    assert isinstance(found, type)
    assert issubclass(found, Captioner)
    return found
