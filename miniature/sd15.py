"""mini-sd15: the world of mini-sdxl in Stable Diffusion 1.5's classes, with mini-sdxl's autoencoder and tokenizer.

It is initialized from the weights that both have in common, so that a CPU can train it in hours.
"""

from pathlib import Path

import torch
from transformers import CLIPTokenizer

from foundation.seeds import derive
from miniature.architectures.sd15 import SD15
from miniature.loop import Schedule

SCHEDULE = Schedule(steps=2400, batch=32, rate=5e-4)
IMAGES = 30_000
"""Number of training images; the knowledge of the world comes from mini-sdxl's weights."""


def untrained(base: Path, tokenizer: CLIPTokenizer, seed: int) -> SD15:
    """Return the model as training begins: what mini-sdxl, in ``base``, has too is copied, the rest drawn from ``seed``."""
    torch.manual_seed(derive(seed, "sd15", "weights"))
    model = SD15(tokenizer)
    model.init_from_sdxl(base)
    return model
