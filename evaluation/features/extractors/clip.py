"""CLIP: images and texts in one space (Radford et al. 2021, arXiv 2103.00020), through transformers."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from evaluation.arrays import Features, Pixels
from evaluation.features.extractors.base import (
    Identity,
    TextImageExtractor,
    batches,
    find_weights,
    folder_revision,
    is_mostly_in,
    normalized,
)


class Clip(TextImageExtractor):
    """The projected embeddings of a CLIP model; images are preprocessed by the model's own processor."""

    name: ClassVar[str] = "clip"
    default_weights: ClassVar[str] = "openai/clip-vit-large-patch14"
    install_hint: ClassVar[str] = (
        "`python -m zthumb.scripts.download_models clip-vit-large-patch14` downloads it; `clip=FOLDER` uses another."
    )

    @classmethod
    def identify(cls, weights: str | None) -> Identity:
        weights = weights or cls.default_weights
        return Identity(name=cls.name, weights=weights, revision=folder_revision(find_weights(weights, cls.install_hint)))

    @classmethod
    def open(cls, weights: str | None) -> "Clip":
        import torch
        from transformers import CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

        identity, folder = cls.identify(weights), find_weights(weights or cls.default_weights, cls.install_hint)
        model = CLIPModel.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()
        processor = CLIPImageProcessorPil.from_pretrained(folder, local_files_only=True)
        return cls(identity, model, processor, CLIPTokenizer.from_pretrained(folder, local_files_only=True))

    def __init__(self, identity: Identity, model: Any, processor: Any, tokenizer: Any) -> None:
        self.identity, self._model, self._processor, self._tokenizer = identity, model, processor, tokenizer

    @classmethod
    def reads(cls, text: str) -> bool:
        return is_mostly_in(text, "LATIN")

    def embed_images(self, images: Sequence[Pixels]) -> Features:
        import torch

        features = []
        with torch.inference_mode():
            for batch in batches(images):
                inputs = self._processor(images=list(batch), return_tensors="pt")
                features.append(_projected(self._model.get_image_features(**inputs)))
        return normalized(np.concatenate(features))

    def embed_texts(self, texts: Sequence[str]) -> Features:
        import torch

        features = []
        with torch.inference_mode():
            for batch in batches(texts):
                inputs = self._tokenizer(list(batch), padding="max_length", truncation=True, return_tensors="pt")
                features.append(_projected(self._model.get_text_features(**inputs)))
        return normalized(np.concatenate(features))


def _projected(output: Any) -> Any:
    """Return the projected embeddings; newer versions of transformers wrap them in an output object."""
    return getattr(output, "pooler_output", output).numpy()


EXTRACTOR = Clip
