"""mini-flux: the world of mini-sdxl in FLUX.1's classes, with mini-sdxl's autoencoder and one of its text encoders."""

from pathlib import Path

import torch
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from foundation.seeds import derive
from miniature import denoiser, t5_tokenizer
from miniature.architectures.flux import Flux
from miniature.loop import Schedule

SCHEDULE = Schedule(steps=5000, batch=32, rate=1e-3)
IMAGES = 30_000


def fit(
    base: Path,
    latents: Tensor,
    tokenizer: CLIPTokenizer,
    seed: int,
    folder: Path,
    device: torch.device,
    schedule: Schedule = SCHEDULE,
) -> Flux:
    """Train on scaled ``latents`` (N, 4, 16, 16) of the images 0 … N-1 of ``seed``, with one text encoder of mini-sdxl, ``base``.

    A killed training resumes from its checkpoint in ``folder``.
    """
    torch.manual_seed(derive(seed, "flux", "weights"))
    # The second text encoder of SDXL: its last state is trained, which is not read of the first.
    clip = CLIPTextModel.from_pretrained(base / "text_encoder_2", dtype=torch.float32, local_files_only=True)
    model = Flux(clip, tokenizer, t5_tokenizer.build())
    return denoiser.fit("flux", model.to(device), latents, seed, folder, schedule)
