"""Looking at images once: everything that is later compared, a few images in memory at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from evaluation.extractors.base import Extractor, Features, Pixels, Reader
from evaluation.metrics.base import ImageFeatures
from evaluation.metrics.clipping import clipped
from evaluation.references import load
from foundation.fingerprint import fingerprint

_TOGETHER = 32


@dataclass(frozen=True)
class ExtractorSet:
    """The extractors of an evaluation: the first decides, texts are read by the first that reads any."""

    extractors: tuple[Extractor, ...]

    @property
    def first(self) -> Extractor:
        """The one whose likeness decides."""
        return self.extractors[0]

    @property
    def reader(self) -> Reader | None:
        """The one that reads texts, if any does."""
        return next((each for each in self._readers if not each.is_critic), None)

    @property
    def critic(self) -> Reader | None:
        """The one that has learned what people like, if there is one."""
        return next((each for each in self._readers if each.is_critic), None)

    @property
    def _readers(self) -> list[Reader]:
        return [each for each in self.extractors if isinstance(each, Reader)]

    def look(self, paths: Sequence[Path], background: str = "white") -> ImageFeatures:
        """What is to be seen of the images at ``paths``, at least one; transparent ones lie on ``background``."""
        return joined([self._look([load(path, background) for path in group]) for group in _groups(paths)])

    def _look(self, images: Sequence[Pixels]) -> ImageFeatures:
        features = self.first.images(images)
        readable = features if self.reader is self.first else self.reader.images(images) if self.reader else None
        prints = tuple(fingerprint(Image.fromarray(image)) for image in images)
        liked = self.critic.images(images) if self.critic else None
        return ImageFeatures(features, readable, np.array([clipped(image) for image in images]), prints, liked)


def joined(parts: Sequence[ImageFeatures]) -> ImageFeatures:
    """What was seen of several groups of images, in their order."""
    return ImageFeatures(
        np.concatenate([part.features for part in parts]),
        _whole([part.readable for part in parts]),
        np.concatenate([part.clipped for part in parts]),
        tuple(each for part in parts for each in part.fingerprints),
        _whole([part.liked for part in parts]),
    )


def _whole(parts: Sequence[Features | None]) -> Features | None:
    there = [part for part in parts if part is not None]
    return np.concatenate(there) if there else None


def distance(one: Path, other: Path) -> float:
    """The mean absolute difference of two images, 0 (equal) … 1 (black and white); 1 for those of different sizes."""
    first, second = load(one), load(other)
    if first.shape != second.shape:
        return 1.0
    return float(np.abs(first.astype(np.int16) - second).mean() / 255)


def _groups(paths: Sequence[Path]) -> Iterator[Sequence[Path]]:
    for start in tqdm(range(0, len(paths), _TOGETHER), desc="look", unit="batch"):
        yield paths[start : start + _TOGETHER]
