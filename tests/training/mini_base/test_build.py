"""The way from a seed to the two models, walked with a handful of pictures and steps."""

from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionXLPipeline

from foundation.hashing import hash_files
from training.mini_base.build import Plan, build
from training.mini_base.loop import Schedule

pytestmark = pytest.mark.slow

TINY = Plan(
    pictures=96,
    autoencoder=Schedule(steps=3, batch=4, rate=1e-3, save_every=2),
    denoiser=Schedule(steps=3, batch=4, rate=1e-3, save_every=2),
    image_tower=Schedule(steps=3, batch=8, rate=1e-3, save_every=2),
)


def test_a_build_makes_a_pipeline_that_loads_and_is_the_same_when_resumed(tmp_path: Path) -> None:
    build(tmp_path / "models", tmp_path / "work", plan=TINY)
    pipeline = StableDiffusionXLPipeline.from_pretrained(tmp_path / "models" / "mini-sdxl", local_files_only=True)
    image = pipeline("a red star", num_inference_steps=2, generator=torch.Generator().manual_seed(0)).images[0]
    assert image.size == (128, 128)
    assert pipeline.unet.config.addition_embed_type == "text_time"
    size = sum(path.stat().st_size for path in (tmp_path / "models" / "mini-sdxl").rglob("*") if path.is_file())
    assert size < 30_000_000

    first = hash_files(tmp_path / "models")
    # Everything but the last checkpoint is lost: what is left must lead to the same weights.
    for name in ("denoiser.pt", "image_tower.pt"):
        (tmp_path / "work" / name).unlink()
    build(tmp_path / "models", tmp_path / "work", plan=TINY)
    assert hash_files(tmp_path / "models") == first
