"""What every metric is: a pure function of what was seen of images, and the bound it may not cross, if it is a guard."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from evaluation.extractors.base import Features
from evaluation.protocol import Stratum
from foundation.config import Strict
from foundation.fingerprint import Fingerprint

Values = NDArray[np.float64]


@dataclass(frozen=True)
class ImageFeatures:
    """What was seen of n images: ``features`` (n, D) of the extractor that decides, ``readable`` (n, E) of the one that reads
    texts too, the share of ``clipped`` pixels (n,), fingerprints, and ``liked`` (n, F) of the one that has learned what people
    like.
    """

    features: Features
    readable: Features | None
    clipped: Values
    fingerprints: tuple[Fingerprint, ...]
    liked: Features | None = None

    def __len__(self) -> int:
        return len(self.features)

    def take(self, places: Sequence[int]) -> "ImageFeatures":
        """Those at ``places`` alone."""
        chosen = list(places)
        return ImageFeatures(
            self.features[chosen],
            None if self.readable is None else self.readable[chosen],
            self.clipped[chosen],
            tuple(self.fingerprints[place] for place in chosen),
            None if self.liked is None else self.liked[chosen],
        )


@dataclass(frozen=True)
class PromptSamples:
    """The images of one prompt at one scale, one a seed, and the ``base``'s of the same prompt and seeds in the same order."""

    stratum: Stratum
    prompt: str
    images: ImageFeatures
    base: ImageFeatures


@dataclass(frozen=True)
class ReferenceStats:
    """What images are compared with.

    ``held_out`` and ``training`` are the concept's own images, None where there are none. ``texts``: prompt → feature (E,) of
    its words without the trigger, ``wishes`` the same for ``liked``. ``apart`` is the mean distance between the base's images
    of different control prompts, ``lead`` by how much nearer the base's images with the trigger are to their own texts than to
    other prompts'; None where there are not two.
    """

    held_out: ImageFeatures | None
    training: ImageFeatures | None
    texts: Mapping[str, NDArray[np.float64]]
    apart: float | None
    lead: float | None
    spread: float | None = None
    wishes: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)


class Guard(Strict):
    """A bound that the 95 % interval of a metric's value, or of its change from the base, must lie within: non-inferiority."""

    of: Literal["value", "change"]
    at_least: float | None = None
    at_most: float | None = None

    def passes(self, low: float | None, high: float | None) -> bool:
        """Whether an interval lies within; one without bounds does not."""
        if low is None or high is None:
            return False
        return (self.at_least is None or low >= self.at_least) and (self.at_most is None or high <= self.at_most)


class Metric(ABC):
    """One figure of a cell.

    ``meaning`` says what it is, ``failure`` what is wrong with an adapter that crosses its bound, both in plain words.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    meaning: ClassVar[str]
    failure: ClassVar[str] = ""
    strata: ClassVar[tuple[Stratum, ...]]

    @abstractmethod
    def of(self, cell: PromptSamples, known: ReferenceStats) -> Values | None:
        """Its values, one an image (n,) or one for all (1,); None where it cannot be measured."""

    def guard(self, known: ReferenceStats) -> Guard | None:
        """The bound it may not cross; None for one that only informs."""
        return None


def distances(one: Features, other: Features) -> Values:
    """1 − cosine of each row of ``one`` (n, D) with that of ``other`` (n, D): 0 for like things, 2 at the most."""
    found: Values = 1 - (one * other).sum(axis=1)
    return found
