"""mini-sd15: the world of mini-sdxl in Stable Diffusion 1.5's classes, with its autoencoder and tokenizer.

It begins as what both have in common, so that a CPU can train it in hours.
"""

from pathlib import Path

import torch
from torch import Tensor
from transformers import CLIPTokenizer

from foundation.seeds import derive
from miniature import denoiser
from miniature.architectures.sd15 import SD15
from miniature.loop import Schedule

SCHEDULE = Schedule(steps=5000, batch=32, rate=6e-4)
IMAGES = 30_000
"""Of how many images it learns; the world itself it has from mini-sdxl."""


def fit(
    base: Path,
    latents: Tensor,
    tokenizer: CLIPTokenizer,
    seed: int,
    folder: Path,
    device: torch.device,
    schedule: Schedule = SCHEDULE,
) -> SD15:
    """Train on scaled ``latents`` (N, 4, 16, 16) of the images 0 … N-1 of ``seed``, from mini-sdxl in ``base`` on.

    A killed training goes on from what it left in ``folder``.
    """
    torch.manual_seed(derive(seed, "sd15", "weights"))
    model = SD15(tokenizer)
    model.begin_as(base)
    return denoiser.fit("sd15", model.to(device), latents, tokenizer, seed, folder, schedule)
