"""mini-sd15: the world of mini-sdxl in Stable Diffusion 1.5's classes, with mini-sdxl's autoencoder and tokenizer.

It is initialized from the weights that both have in common, so that a CPU can train it in hours.
"""

from pathlib import Path

import torch
from torch import Tensor
from transformers import CLIPTokenizer

from foundation.seeds import derive
from miniature import denoiser
from miniature.architectures.sd15 import SD15
from miniature.loop import Schedule

SCHEDULE = Schedule(steps=2400, batch=32, rate=5e-4)
IMAGES = 30_000
"""Number of training images; the knowledge of the world comes from mini-sdxl's weights."""


def fit(
    base: Path,
    latents: Tensor,
    tokenizer: CLIPTokenizer,
    seed: int,
    folder: Path,
    device: torch.device,
    schedule: Schedule = SCHEDULE,
) -> SD15:
    """Train on scaled ``latents`` (N, 4, 16, 16) of the images 0 … N-1 of ``seed``, initialized from the mini-sdxl in ``base``.

    A killed training resumes from its checkpoint in ``folder``.
    """
    torch.manual_seed(derive(seed, "sd15", "weights"))
    model = SD15(tokenizer)
    model.init_from_sdxl(base)
    return denoiser.fit("sd15", model.to(device), latents, seed, folder, schedule)
