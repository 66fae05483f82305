"""BLIP (arXiv 2201.12086), through transformers."""

from pathlib import Path

import torch
from PIL import Image
from transformers import AutoTokenizer, BlipForConditionalGeneration, BlipImageProcessorPil

from foundation.device import choose_device
from foundation.errors import BadInput
from training.data.captioners.base import Captioner

_MAX_NEW_TOKENS = 50
"""Length limit of a caption in tokens."""


class Blip(Captioner):
    """``BlipForConditionalGeneration`` with greedy decoding, so that an image always gets the same caption."""

    def __init__(self, folder: Path) -> None:
        try:
            self._model = BlipForConditionalGeneration.from_pretrained(folder, local_files_only=True, use_safetensors=True).eval()
            self._processor = BlipImageProcessorPil.from_pretrained(folder, local_files_only=True)
            self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError) as error:
            raise BadInput(f"{folder}: not a BLIP model: {str(error).splitlines()[0]}") from None
        self._model.to(choose_device())

    def describe(self, image: Image.Image) -> str:
        pixels = self._processor(image, return_tensors="pt").pixel_values.to(self._model.device)
        with torch.no_grad():
            tokens = self._model.generate(pixel_values=pixels, max_new_tokens=_MAX_NEW_TOKENS, do_sample=False, num_beams=1)
        text: str = self._tokenizer.decode(tokens[0], skip_special_tokens=True)
        return " ".join(text.split())


CAPTIONER = Blip
