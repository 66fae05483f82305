"""DINOv2: the content of an image, learned from images alone (Oquab et al. 2023, arXiv 2304.07193), through transformers."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from evaluation.arrays import Features, Pixels
from evaluation.features.extractors.base import Extractor, Identity, batches, find_weights, folder_revision, normalized

_DEFAULT_WEIGHTS = "facebook/dinov2-base"
_INSTALL_HINT = "`python -m zthumb.scripts.download_models dinov2-base` downloads it; `dinov2=FOLDER` uses another."


class Dinov2(Extractor):
    """The class token of a DINOv2 model; images are preprocessed by the model's own processor."""

    @classmethod
    def identify(cls, weights: str | None) -> Identity:
        weights = weights or _DEFAULT_WEIGHTS
        return Identity(name="dinov2", weights=weights, revision=folder_revision(find_weights(weights, _INSTALL_HINT)))

    @classmethod
    def open(cls, weights: str | None) -> "Dinov2":
        import torch
        from transformers import BitImageProcessorPil, Dinov2Model

        identity, folder = cls.identify(weights), find_weights(weights or _DEFAULT_WEIGHTS, _INSTALL_HINT)
        model = Dinov2Model.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()
        return cls(identity, model, BitImageProcessorPil.from_pretrained(folder, local_files_only=True))

    def __init__(self, identity: Identity, model: Any, processor: Any) -> None:
        self.identity, self._model, self._processor = identity, model, processor

    def embed_images(self, images: Sequence[Pixels]) -> Features:
        import torch

        features = []
        with torch.inference_mode():
            for batch in batches(images):
                inputs = self._processor(images=list(batch), return_tensors="pt")
                features.append(self._model(**inputs).pooler_output.numpy())
        return normalized(np.concatenate(features))


EXTRACTOR = Dinov2
