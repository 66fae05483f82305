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


def unread_prompt(specs: Sequence[str], prompts: Sequence[str], *, is_preference: bool = False) -> str | None:
    """Return the first of ``prompts`` that keeps every extractor with a text encoder from embedding them; None if one reads all.

    Those of human preference are asked alone, or not at all. None as well if there is no extractor to ask.
    """
    kinds = [kind for spec in specs if issubclass(kind := _find(spec)[0], TextImageExtractor)]
    candidates = [kind for kind in kinds if kind.is_preference_model == is_preference]
    unread = [
        prompt for kind in candidates if (prompt := next((text for text in prompts if not kind.reads(text)), None)) is not None
    ]
    return unread[0] if candidates and len(unread) == len(candidates) else None


def _find(spec: str) -> tuple[type[Extractor], str | None]:
    name, _, weights = spec.partition("=")
    extractor = plugins.get(__name__, name.replace("-", "_"), "EXTRACTOR", "extractor")
    assert isinstance(extractor, type)
    assert issubclass(extractor, Extractor)
    return extractor, weights or None
