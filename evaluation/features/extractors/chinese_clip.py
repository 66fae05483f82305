"""Chinese CLIP: images and texts in Chinese in one space (Yang et al. 2022, arXiv 2211.01335), through transformers."""

from typing import ClassVar

from evaluation.features.extractors.base import find_weights, is_mostly_in
from evaluation.features.extractors.clip import Clip

_LENGTH = 52
"""Tokens of a text that it was trained with."""


class ChineseClip(Clip):
    """The projected embeddings of a Chinese CLIP model. It was trained on texts in Chinese, some with Latin letters in them."""

    name: ClassVar[str] = "chinese-clip"
    default_weights: ClassVar[str] = "OFA-Sys/chinese-clip-vit-large-patch14"
    install_hint: ClassVar[str] = (
        "`hf download OFA-Sys/chinese-clip-vit-large-patch14 --local-dir models/chinese-clip-vit-large-patch14` downloads it; "
        "`chinese-clip=FOLDER` uses another."
    )

    @classmethod
    def reads(cls, text: str) -> bool:
        # Latin letters alone are a text in another language.
        is_latin = any(map(str.isalpha, text)) and is_mostly_in(text, "LATIN")
        return is_mostly_in(text, "CJK", "IDEOGRAPHIC", "LATIN") and not is_latin

    @classmethod
    def open(cls, weights: str | None) -> "ChineseClip":
        import torch
        from transformers import AutoTokenizer, ChineseCLIPImageProcessorPil, ChineseCLIPModel

        identity, folder = cls.identify(weights), find_weights(weights or cls.default_weights, cls.install_hint)
        model = ChineseCLIPModel.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()
        processor = ChineseCLIPImageProcessorPil.from_pretrained(folder, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, model_max_length=_LENGTH)
        return cls(identity, model, processor, tokenizer)


EXTRACTOR = ChineseClip
