"""What the images of a sweep are compared with, gathered once."""

from collections.abc import Mapping, Sequence

import numpy as np

from evaluation.extractors.base import Features, Reader
from evaluation.features import ExtractorSet
from evaluation.metrics.base import ImageFeatures, ReferenceStats, Values
from evaluation.metrics.diversity import vendi
from evaluation.prompts_file import TRIGGER
from evaluation.protocol import WITH_TRIGGER, Protocol
from evaluation.references import References
from evaluation.sweep import Sweep
from foundation.errors import BadInput
from foundation.fingerprint import ONE_IMAGE as _SAME
from foundation.fingerprint import Fingerprints

NOTHING = ReferenceStats(None, None, {}, None, None)


def gather(sweep: Sweep, protocol: Protocol, trigger: str, extractors: ExtractorSet, references: References) -> ReferenceStats:
    """The concept's own images, the prompts' words, and how far apart the base's images are.

    ``BadInput`` where a held-out image is a version of a training image: likeness to it would reward copies.
    """
    held_out, training = (
        extractors.look(paths, references.background) if paths else None for paths in (references.held_out, references.training)
    )
    _check_apart(held_out, training, references)
    texts = _texts(extractors.reader, protocol, trigger)
    controls = sweep.base_of(protocol.of("control", trigger), sweep.seen.features)
    lead = None
    if sweep.seen.readable is not None:
        triggered = [prompt for stratum in WITH_TRIGGER for prompt in protocol.of(stratum, trigger)]
        lead = _lead(sweep.base_of(triggered, sweep.seen.readable), texts)
    apart, spread = _between(list(controls.values())), _spread(list(controls.values()))
    return ReferenceStats(held_out, training, texts, apart, lead, spread, _texts(extractors.critic, protocol, trigger))


def mean_pairwise_cosine(seen: ImageFeatures | None) -> float | None:
    """The mean cosine of images with one another; None with fewer than two."""
    if seen is None or len(seen) < 2:
        return None
    count = len(seen)
    return float(((seen.features @ seen.features.T).sum() - count) / (count * (count - 1)))


def _check_apart(held_out: ImageFeatures | None, training: ImageFeatures | None, references: References) -> None:
    if held_out is None or training is None:
        return
    trained = Fingerprints.of(training.fingerprints)
    for path, one in zip(references.held_out, held_out.fingerprints, strict=True):
        if (versions := trained.versions_of(one, *_SAME)).any():
            other = references.training[int(versions.argmax())]
            raise BadInput(
                f"{path}: a version of {other}, which was trained on; what is held out must not be. Take one of them out."
            )


def _texts(reader: Reader | None, protocol: Protocol, trigger: str) -> dict[str, Values]:
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


def _spread(groups: Sequence[Features]) -> float | None:
    """The mean Vendi score − 1 of the rows of each group; None where no group has two."""
    found = [vendi(group) - 1 for group in groups if len(group) > 1]
    return float(np.mean(found)) if found else None


def _lead(images: Mapping[str, Features], texts: Mapping[str, Values]) -> float | None:
    """By how much nearer images are to their own text than to those of other prompts, on average; None with fewer than two."""
    if len(images) < 2:
        return None
    own = [float((rows @ texts[prompt]).mean()) for prompt, rows in images.items()]
    others = [float((rows @ texts[each]).mean()) for prompt, rows in images.items() for each in images if each != prompt]
    return float(np.mean(own) - np.mean(others))
