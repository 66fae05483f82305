"""What the pictures of a sweep are compared with, gathered once."""

from collections.abc import Mapping, Sequence

import numpy as np

from evaluation.extractors.base import Extractor, Features
from evaluation.looking import Eyes
from evaluation.metrics.base import Known, Seen, Values
from evaluation.protocol import TRIGGER, WITH_TRIGGER, Protocol
from evaluation.references import References
from evaluation.sweep import Sweep

NOTHING = Known(None, None, {}, None, None)


def gather(sweep: Sweep, protocol: Protocol, trigger: str, eyes: Eyes, references: References) -> Known:
    """The concept's own pictures, the prompts' words, and how far apart the base's pictures are."""
    held_out, training = (eyes.look(paths) if paths else None for paths in (references.held_out, references.training))
    texts = _texts(eyes.reader, protocol, trigger)
    controls = sweep.base_of(protocol.of("control", trigger), sweep.seen.features)
    lead = None
    if sweep.seen.readable is not None:
        triggered = [prompt for stratum in WITH_TRIGGER for prompt in protocol.of(stratum, trigger)]
        lead = _lead(sweep.base_of(triggered, sweep.seen.readable), texts)
    return Known(held_out, training, texts, _between(list(controls.values())), lead, _texts(eyes.critic, protocol, trigger))


def among_themselves(seen: Seen | None) -> float | None:
    """The mean cosine of pictures with one another; None with fewer than two."""
    if seen is None or len(seen) < 2:
        return None
    count = len(seen)
    return float(((seen.features @ seen.features.T).sum() - count) / (count * (count - 1)))


def _texts(reader: Extractor | None, protocol: Protocol, trigger: str) -> dict[str, Values]:
    """Prompt with the trigger → what ``reader`` makes of its words without it."""
    if reader is None:
        return {}
    prompts = [prompt for stratum in WITH_TRIGGER for prompt in getattr(protocol, stratum)]
    features = reader.texts([" ".join(prompt.replace(TRIGGER, " ").split()) for prompt in prompts])
    return {prompt.replace(TRIGGER, trigger): row for prompt, row in zip(prompts, features, strict=True)}


def _between(groups: Sequence[Features]) -> float | None:
    """The mean distance between rows of different ``groups``; None with fewer than two."""
    if len(groups) < 2:
        return None
    pairs = [1 - one @ other.T for number, one in enumerate(groups) for other in groups[number + 1 :]]
    return float(np.mean([pair.mean() for pair in pairs]))


def _lead(pictures: Mapping[str, Features], texts: Mapping[str, Values]) -> float | None:
    """By how much nearer pictures are to their own text than to those of other prompts, on average; None with fewer than two."""
    if len(pictures) < 2:
        return None
    own = [float((rows @ texts[prompt]).mean()) for prompt, rows in pictures.items()]
    others = [float((rows @ texts[each]).mean()) for prompt, rows in pictures.items() for each in pictures if each != prompt]
    return float(np.mean(own) - np.mean(others))
