"""Compute once what the images of a sweep are compared with."""

from collections.abc import Mapping, Sequence

import numpy as np

from evaluation.arrays import Features, Values
from evaluation.features.concept_images import References
from evaluation.features.extraction import ExtractorSet
from evaluation.features.extractors.base import TextImageExtractor
from evaluation.features.sweep import Sweep
from evaluation.metrics.base import ImageFeatures, ReferenceStats
from evaluation.metrics.diversity import vendi
from evaluation.protocol.plan import WITH_TRIGGER, Protocol
from evaluation.protocol.prompts_file import TRIGGER_PLACEHOLDER
from foundation.errors import BadInput
from foundation.fingerprint import SAME_IMAGE as _SAME_IMAGE
from foundation.fingerprint import Fingerprints

EMPTY = ReferenceStats(None, None, {}, None, None)


def compute_reference_stats(
    sweep: Sweep, protocol: Protocol, trigger: str, extractors: ExtractorSet, references: References
) -> ReferenceStats:
    """Return the features of the concept's own images and of the prompts' texts, and how far apart the base's images are.

    Raises ``BadInput`` if a held-out image is a version of a training image: similarity to it would reward copies.
    """
    held_out, training = (
        extractors.extract(paths, references.background) if paths else None
        for paths in (references.held_out, references.training)
    )
    _check_held_out(held_out, training, references)
    texts = _embed_prompts(extractors.text_extractor, protocol, trigger)
    controls = sweep.base_features(protocol.prompts("control", trigger), sweep.image_features.features)
    text_margin = None
    if sweep.image_features.text_aligned is not None:
        with_trigger = [prompt for stratum in WITH_TRIGGER for prompt in protocol.prompts(stratum, trigger)]
        text_margin = _text_margin(sweep.base_features(with_trigger, sweep.image_features.text_aligned), texts)
    control_distance = _mean_distance_between(list(controls.values()))
    control_diversity = _mean_diversity(list(controls.values()))
    preference_texts = _embed_prompts(extractors.preference_extractor, protocol, trigger)
    return ReferenceStats(held_out, training, texts, control_distance, text_margin, control_diversity, preference_texts)


def mean_pairwise_cosine(images: ImageFeatures | None) -> float | None:
    """Return the mean cosine of images with one another; None for fewer than two."""
    if images is None or len(images) < 2:
        return None
    count = len(images)
    return float(((images.features @ images.features.T).sum() - count) / (count * (count - 1)))


def _check_held_out(held_out: ImageFeatures | None, training: ImageFeatures | None, references: References) -> None:
    if held_out is None or training is None:
        return
    training_fingerprints = Fingerprints.of(training.fingerprints)
    for path, fingerprint in zip(references.held_out, held_out.fingerprints, strict=True):
        if (versions := training_fingerprints.find_versions(fingerprint, *_SAME_IMAGE)).any():
            training_path = references.training[int(versions.argmax())]
            raise BadInput(
                f"{path}: a version of the training image {training_path}; held-out images must not be trained on. Remove one of "
                "the two."
            )


def _embed_prompts(extractor: TextImageExtractor | None, protocol: Protocol, trigger: str) -> dict[str, Values]:
    """Return prompt with the trigger → text feature (E,) of the prompt without it."""
    if extractor is None:
        return {}
    features = extractor.embed_texts(list(protocol.texts.values()))
    return {prompt.replace(TRIGGER_PLACEHOLDER, trigger): row for prompt, row in zip(protocol.texts, features, strict=True)}


def _mean_distance_between(groups: Sequence[Features]) -> float | None:
    """Return the mean distance between rows of different ``groups``; None for fewer than two groups."""
    if len(groups) < 2:
        return None
    pairs = [1 - first @ second.T for number, first in enumerate(groups) for second in groups[number + 1 :]]
    return float(np.mean([pair.mean() for pair in pairs]))


def _mean_diversity(groups: Sequence[Features]) -> float | None:
    """Return the mean Vendi score − 1 of the rows of each group; None if no group has two rows."""
    scores = [vendi(group) - 1 for group in groups if len(group) > 1]
    return float(np.mean(scores)) if scores else None


def _text_margin(images: Mapping[str, Features], texts: Mapping[str, Values]) -> float | None:
    """Return the mean cosine of images with the text of their own prompt minus that with the texts of other prompts.

    None for fewer than two prompts.
    """
    if len(images) < 2:
        return None
    matching = [float((rows @ texts[prompt]).mean()) for prompt, rows in images.items()]
    mismatched = [float((rows @ texts[other]).mean()) for prompt, rows in images.items() for other in images if other != prompt]
    return float(np.mean(matching) - np.mean(mismatched))
