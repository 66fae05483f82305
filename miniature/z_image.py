"""mini-z-image: the world of mini-sdxl in Z-Image's classes, with mini-sdxl's autoencoder."""

import torch

from foundation.seeds import derive
from miniature import qwen_tokenizer
from miniature.architectures.z_image import ZImage
from miniature.captions import vocabulary
from miniature.loop import Schedule

SCHEDULE = Schedule(steps=7_000, batch=32, rate=2e-3)
IMAGES = 30_000


def untrained(seed: int) -> ZImage:
    """Return the model as training begins, with weights drawn from ``seed``."""
    torch.manual_seed(derive(seed, "z_image", "weights"))
    return ZImage(qwen_tokenizer.build(seed, vocabulary()))
