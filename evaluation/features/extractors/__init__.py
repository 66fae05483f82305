"""The feature extractors that images are compared with. Each module is one extractor, found by its name."""

from collections.abc import Sequence

from evaluation.features.extractors.base import Extractor, Identity, TextImageExtractor
from foundation import plugins


def extractor_names() -> list[str]:
    """Return the names of all extractors, as they are written in a prompts file."""
    return [name.replace("_", "-") for name in plugins.names(__name__)]


def open_extractor(spec: str) -> Extractor:
    """Return the loaded extractor that ``NAME`` or ``NAME=WEIGHTS`` specifies; ``BadInput`` if it or its weights are missing."""
    extractor, weights = _find(spec)
    return extractor.open(weights)


def identify(spec: str) -> Identity:
    """Return the identity of the extractor that ``spec`` specifies, without loading it; ``BadInput`` as above."""
    extractor, weights = _find(spec)
    return extractor.identify(weights)


def unread_prompt(specs: Sequence[str], prompts: Sequence[str]) -> str | None:
    """Return the first of ``prompts`` that keeps every extractor with a text encoder from embedding them; None if one reads all.

    None as well if no extractor has a text encoder.
    """
    kinds = [kind for spec in specs if issubclass(kind := _find(spec)[0], TextImageExtractor) and not kind.is_preference_model]
    unread = [next((prompt for prompt in prompts if not kind.reads(prompt)), None) for kind in kinds]
    return unread[0] if unread and all(unread) else None


def _find(spec: str) -> tuple[type[Extractor], str | None]:
    name, _, weights = spec.partition("=")
    extractor = plugins.get(__name__, name.replace("-", "_"), "EXTRACTOR", "extractor")
    assert isinstance(extractor, type)
    assert issubclass(extractor, Extractor)
    return extractor, weights or None
