"""mini-flux: the world of mini-sdxl in FLUX.1's classes, with mini-sdxl's autoencoder and one of its text encoders."""

from pathlib import Path

import torch
from transformers import CLIPTextModel, CLIPTokenizer

from foundation.seeds import derive
from miniature import t5_tokenizer
from miniature.architectures.flux import Flux
from miniature.loop import Schedule

SCHEDULE = Schedule(steps=6_000, batch=32, rate=2e-3)
FINISH_SCHEDULE = Schedule(steps=5_000, batch=32, rate=1e-3)
"""A second cycle without the probes. After the first, one image in fifteen has the two colours of its prompt exchanged."""

IMAGES = 30_000


def untrained(base: Path, tokenizer: CLIPTokenizer, seed: int) -> Flux:
    """Return the model as training begins: a text encoder of mini-sdxl, in ``base``, and weights drawn from ``seed``."""
    torch.manual_seed(derive(seed, "flux", "weights"))
    # The second text encoder of SDXL: its last state is trained, which is not read of the first.
    clip = CLIPTextModel.from_pretrained(base / "text_encoder_2", dtype=torch.float32, local_files_only=True)
    return Flux(clip, tokenizer, t5_tokenizer.build())
