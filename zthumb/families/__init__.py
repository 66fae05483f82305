"""What is true of a model family wherever it runs. One module each; a new family is a new module with a ``FAMILY`` in it."""

from foundation import plugins
from zthumb.families.base import ModelFamily


def names() -> list[str]:
    """The families there are."""
    return plugins.names(__name__)


def get(name: str) -> ModelFamily:
    """The family called ``name``; ``BadInput`` names the nearest one there is."""
    family = plugins.get(__name__, name, "FAMILY", "model family")
    assert isinstance(family, ModelFamily)
    return family
