"""DINOv2: what an image shows, learned from images alone (Oquab et al. 2023, arXiv 2304.07193), through transformers."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from evaluation.extractors.base import Extractor, Features, Identity, Pixels, batches, located, normalized, revision_of

_USUAL = "facebook/dinov2-base"
_ADVICE = "`python -m zthumb.scripts.download_models dinov2-base` fetches it; `dinov2=FOLDER` names another."


class Dinov2(Extractor):
    """The class token of a DINOv2 model, prepared as its own processor prepares images."""

    @classmethod
    def identify(cls, weights: str | None) -> Identity:
        weights = weights or _USUAL
        return Identity(name="dinov2", weights=weights, revision=revision_of(located(weights, _ADVICE)))

    @classmethod
    def open(cls, weights: str | None) -> "Dinov2":
        import torch
        from transformers import BitImageProcessorPil, Dinov2Model

        identity, folder = cls.identify(weights), located(weights or _USUAL, _ADVICE)
        model = Dinov2Model.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()
        return cls(identity, model, BitImageProcessorPil.from_pretrained(folder, local_files_only=True))

    def __init__(self, identity: Identity, model: Any, processor: Any) -> None:
        self.identity, self._model, self._processor = identity, model, processor

    def images(self, images: Sequence[Pixels]) -> Features:
        import torch

        rows = []
        with torch.inference_mode():
            for batch in batches(images):
                told = self._processor(images=list(batch), return_tensors="pt")
                rows.append(self._model(**told).pooler_output.numpy())
        return normalized(np.concatenate(rows))


EXTRACTOR = Dinov2
