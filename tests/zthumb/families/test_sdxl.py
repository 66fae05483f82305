"""SDXL's conditioning is what diffusers makes of a prompt, and its autoencoder decodes in tiles."""

from pathlib import Path
from typing import Any

import pytest
import torch

from zthumb import families

pytestmark = pytest.mark.slow

SDXL = families.get("sdxl")
PROMPTS = ["a photo of a red star on a blue background", "", "zbadge " * 90]


@pytest.fixture
def pipeline(miniature: Path) -> Any:
    return SDXL.load(miniature, torch.float32, torch.device("cpu"))


def test_prompts_are_encoded_as_diffusers_encodes_them(pipeline: Any) -> None:
    conditioning = SDXL.encode_prompts(pipeline, PROMPTS)

    expected, _, expected_pooled, _ = pipeline.encode_prompt(PROMPTS, do_classifier_free_guidance=False)
    assert torch.equal(conditioning.stack("prompt_embeds"), expected)
    assert torch.equal(conditioning.stack("pooled_prompt_embeds"), expected_pooled)
    assert not conditioning.stack("prompt_embeds").requires_grad


def test_tiles_decode_nearly_the_same_and_leave_the_autoencoder_as_it_was(pipeline: Any) -> None:
    edge = torch.where(torch.arange(128) < 80, -0.5, 0.5)
    latents = SDXL.encode_images(pipeline, (edge[:, None] + edge).expand(1, 3, 128, 128))
    whole = SDXL.decode_latents(pipeline, latents)
    tiled = SDXL.decode_latents(pipeline, latents, tile=64)

    assert not torch.equal(tiled, whole)
    assert float((tiled - whole).abs().mean()) < 0.1
    assert torch.equal(SDXL.decode_latents(pipeline, latents), whole)
