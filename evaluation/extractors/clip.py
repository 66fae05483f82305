"""CLIP: images and texts in one space (Radford et al. 2021, arXiv 2103.00020), through transformers."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from evaluation.extractors.base import Features, Identity, Pixels, Reader, batches, located, normalized, revision_of


class Clip(Reader):
    """The projected embeddings of a CLIP model, prepared as its own processor prepares images."""

    name: ClassVar[str] = "clip"
    usual: ClassVar[str] = "openai/clip-vit-large-patch14"
    advice: ClassVar[str] = (
        "`python -m zthumb.scripts.download_models clip-vit-large-patch14` fetches it; `clip=FOLDER` names another."
    )

    @classmethod
    def identify(cls, weights: str | None) -> Identity:
        weights = weights or cls.usual
        return Identity(name=cls.name, weights=weights, revision=revision_of(located(weights, cls.advice)))

    @classmethod
    def open(cls, weights: str | None) -> "Clip":
        import torch
        from transformers import CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

        identity, folder = cls.identify(weights), located(weights or cls.usual, cls.advice)
        model = CLIPModel.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()
        processor = CLIPImageProcessorPil.from_pretrained(folder, local_files_only=True)
        return cls(identity, model, processor, CLIPTokenizer.from_pretrained(folder, local_files_only=True))

    def __init__(self, identity: Identity, model: Any, processor: Any, tokenizer: Any) -> None:
        self.identity, self._model, self._processor, self._tokenizer = identity, model, processor, tokenizer

    def images(self, images: Sequence[Pixels]) -> Features:
        import torch

        rows = []
        with torch.inference_mode():
            for batch in batches(images):
                told = self._processor(images=list(batch), return_tensors="pt")
                rows.append(_projected(self._model.get_image_features(**told)))
        return normalized(np.concatenate(rows))

    def texts(self, texts: Sequence[str]) -> Features:
        import torch

        rows = []
        with torch.inference_mode():
            for batch in batches(texts):
                told = self._tokenizer(list(batch), padding="max_length", truncation=True, return_tensors="pt")
                rows.append(_projected(self._model.get_text_features(**told)))
        return normalized(np.concatenate(rows))


def _projected(found: Any) -> Any:
    """The projected embeddings; newer transformers wrap them."""
    return getattr(found, "pooler_output", found).numpy()


EXTRACTOR = Clip
