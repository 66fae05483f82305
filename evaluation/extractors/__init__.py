"""What images are compared by. Each module is one extractor, found by its name."""

from evaluation.extractors.base import Extractor, Identity
from foundation import plugins


def names() -> list[str]:
    """The extractors there are, as they are asked for."""
    return [name.replace("_", "-") for name in plugins.names(__name__)]


def open_extractor(asked: str) -> Extractor:
    """The extractor that ``NAME`` or ``NAME=WEIGHTS`` means, loaded; ``BadInput`` when it or its weights are not there."""
    found, weights = _found(asked)
    return found.open(weights)


def identify(asked: str) -> Identity:
    """Which extractor ``NAME`` or ``NAME=WEIGHTS`` means, without loading it; ``BadInput`` as above."""
    found, weights = _found(asked)
    return found.identify(weights)


def _found(asked: str) -> tuple[type[Extractor], str | None]:
    name, _, weights = asked.partition("=")
    found = plugins.get(__name__, name.replace("-", "_"), "EXTRACTOR", "extractor")
    assert isinstance(found, type)
    assert issubclass(found, Extractor)
    return found, weights or None
