"""Models that caption images, one module each; a new captioner is a new module with a ``CAPTIONER`` in it."""

from foundation import plugins
from training.data.captioners.base import Captioner


def names() -> list[str]:
    """Return the names of all captioners."""
    return plugins.names(__name__)


def get(name: str) -> type[Captioner]:
    """Return the captioner called ``name``; raises ``BadInput`` with the most similar name if there is none."""
    captioner = plugins.get(__name__, name, "CAPTIONER", "captioner")
    assert isinstance(captioner, type)
    assert issubclass(captioner, Captioner)
    return captioner
