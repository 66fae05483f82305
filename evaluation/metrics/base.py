"""The interface of a metric: a pure function of image features, and for guards the bound that it may not cross."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from evaluation.arrays import Features, Values
from evaluation.protocol.plan import Stratum
from foundation.config import Strict
from foundation.fingerprint import Fingerprint


@dataclass(frozen=True)
class ImageFeatures:
    """What is extracted from n images.

    ``features`` (n, D) of the primary extractor, ``text_aligned`` (n, E) of the one that embeds the prompts, the ``clipped``
    share of pixels (n,), perceptual ``fingerprints``, and ``preference_features`` (n, F) of the preference extractor.
    """

    features: Features
    text_aligned: Features | None
    clipped: Values
    fingerprints: tuple[Fingerprint, ...]
    preference_features: Features | None = None

    def __len__(self) -> int:
        return len(self.features)

    def take(self, indices: Sequence[int]) -> "ImageFeatures":
        """Return those of the images at ``indices``."""
        rows = list(indices)
        return ImageFeatures(
            self.features[rows],
            None if self.text_aligned is None else self.text_aligned[rows],
            self.clipped[rows],
            tuple(self.fingerprints[row] for row in rows),
            None if self.preference_features is None else self.preference_features[rows],
        )


@dataclass(frozen=True)
class PromptSamples:
    """The images of one prompt at one scale, one per seed, and the ``base``'s of the same prompt and seeds in the same order."""

    stratum: Stratum
    prompt: str
    images: ImageFeatures
    base: ImageFeatures


@dataclass(frozen=True)
class ReferenceStats:
    """What images are compared with.

    ``held_out`` and ``training`` are the concept's own images, None if there are none. ``texts``: prompt → feature (E,) of the
    prompt without the trigger; ``preference_texts``: the same (F,) of the preference extractor. The other values are of the
    base's images: ``control_distance`` is the mean distance between images of different control prompts; ``text_margin`` the
    mean cosine of images with the trigger with their own text minus that with the other prompts' texts; both None for fewer than
    two prompts. ``control_diversity`` is the mean Vendi score − 1 over the seeds of a control prompt, None for fewer than two
    seeds.
    """

    held_out: ImageFeatures | None
    training: ImageFeatures | None
    texts: Mapping[str, NDArray[np.float64]]
    control_distance: float | None
    text_margin: float | None
    control_diversity: float | None = None
    preference_texts: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)


class Guard(Strict):
    """A bound that the 95 % interval of a metric's value, or of its change from the base, must respect: non-inferiority."""

    of: Literal["value", "change"]
    at_least: float | None = None
    at_most: float | None = None

    def passes(self, low: float | None, high: float | None) -> bool:
        """Return whether an interval respects the bound; an interval without bounds does not."""
        if low is None or high is None:
            return False
        return (self.at_least is None or low >= self.at_least) and (self.at_most is None or high <= self.at_most)


class Metric(ABC):
    """One metric of the images of a prompt at a scale.

    ``meaning`` explains it, ``failure`` says what is wrong with an adapter that crosses its bound, both in plain words.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    meaning: ClassVar[str]
    failure: ClassVar[str] = ""
    strata: ClassVar[tuple[Stratum, ...]]

    @abstractmethod
    def compute(self, prompt_samples: PromptSamples, reference_stats: ReferenceStats) -> Values | None:
        """Return its values, one per image (n,) or one for all (1,); None if it cannot be measured."""

    def guard(self, reference_stats: ReferenceStats) -> Guard | None:
        """Return the bound that it may not cross; None for a metric that only informs."""
        return None


def cosine_distances(first: Features, second: Features) -> Values:
    """Return 1 − cosine of each row of ``first`` (n, D) with that of ``second`` (n, D): 0 for equal rows, at most 2."""
    distances: Values = 1 - (first * second).sum(axis=1)
    return distances
