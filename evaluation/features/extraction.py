"""Extract everything that is later compared from images once, a few images in memory at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from evaluation.arrays import Features, Pixels
from evaluation.features.concept_images import load_image
from evaluation.features.extractors.base import Extractor, TextImageExtractor
from evaluation.metrics.base import ImageFeatures
from evaluation.metrics.clipping import clipped_share
from foundation.fingerprint import fingerprint

_BATCH_SIZE = 32


@dataclass(frozen=True)
class ExtractorSet:
    """The extractors of an evaluation, the primary one first. ``prompts`` are embedded by the first that reads all of them."""

    extractors: tuple[Extractor, ...]
    prompts: tuple[str, ...] = ()

    @property
    def primary(self) -> Extractor:
        """The extractor whose similarity decides."""
        return self.extractors[0]

    @property
    def text_extractor(self) -> TextImageExtractor | None:
        """The extractor that embeds the prompts, if one has a text encoder and reads their language."""
        extractors = self._text_image_extractors
        return next((extractor for extractor in extractors if not extractor.is_preference_model), None)

    @property
    def preference_extractor(self) -> TextImageExtractor | None:
        """The extractor that was trained on human preferences, if there is one."""
        extractors = self._text_image_extractors
        return next((extractor for extractor in extractors if extractor.is_preference_model), None)

    @property
    def _text_image_extractors(self) -> list[TextImageExtractor]:
        return [
            extractor
            for extractor in self.extractors
            if isinstance(extractor, TextImageExtractor) and all(map(extractor.reads, self.prompts))
        ]

    def extract(self, paths: Sequence[Path], background: str = "white") -> ImageFeatures:
        """Return the features of the images at ``paths``, at least one; transparent ones are put on ``background``."""
        return concatenate([self._extract([load_image(path, background) for path in batch]) for batch in _batches(paths)])

    def _extract(self, images: Sequence[Pixels]) -> ImageFeatures:
        features = self.primary.embed_images(images)
        text_extractor, preference_extractor = self.text_extractor, self.preference_extractor
        text_aligned = None
        if text_extractor is not None:
            text_aligned = features if text_extractor is self.primary else text_extractor.embed_images(images)
        fingerprints = tuple(fingerprint(Image.fromarray(image)) for image in images)
        preference_features = preference_extractor.embed_images(images) if preference_extractor else None
        clipped = np.array([clipped_share(image) for image in images])
        return ImageFeatures(features, text_aligned, clipped, fingerprints, preference_features)


def concatenate(parts: Sequence[ImageFeatures]) -> ImageFeatures:
    """Return the features of several groups of images as one, in their order."""
    return ImageFeatures(
        np.concatenate([part.features for part in parts]),
        _concatenate_optional([part.text_aligned for part in parts]),
        np.concatenate([part.clipped for part in parts]),
        tuple(image_fingerprint for part in parts for image_fingerprint in part.fingerprints),
        _concatenate_optional([part.preference_features for part in parts]),
    )


def _concatenate_optional(parts: Sequence[Features | None]) -> Features | None:
    present = [part for part in parts if part is not None]
    return np.concatenate(present) if present else None


def pixel_distance(first: Path, second: Path) -> float:
    """Return the mean absolute difference of two images, 0 (equal) … 1 (black and white); 1 if their sizes differ."""
    first_pixels, second_pixels = load_image(first), load_image(second)
    if first_pixels.shape != second_pixels.shape:
        return 1.0
    return float(np.abs(first_pixels.astype(np.int16) - second_pixels).mean() / 255)


def _batches(paths: Sequence[Path]) -> Iterator[Sequence[Path]]:
    for start in tqdm(range(0, len(paths), _BATCH_SIZE), desc="extract features", unit="batch"):
        yield paths[start : start + _BATCH_SIZE]
