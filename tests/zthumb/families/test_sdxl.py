"""SDXL's conditioning is what diffusers makes of a prompt, and learns where asked to."""

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
    states, pooled = SDXL.encode_prompts(pipeline, PROMPTS)
    expected, _, expected_pooled, _ = pipeline.encode_prompt(PROMPTS, do_classifier_free_guidance=False)
    assert torch.equal(states, expected)
    assert torch.equal(pooled, expected_pooled)
    assert not states.requires_grad


def test_tokens_are_encoded_with_a_gradient_where_an_encoder_has_one(pipeline: Any) -> None:
    weight = pipeline.text_encoder_2.text_model.encoder.layers[0].self_attn.q_proj.weight.requires_grad_(True)
    parts = {part: getattr(pipeline, part) for part in SDXL.text_components}
    states, pooled = SDXL.encode_tokens(parts, SDXL.tokens(pipeline, PROMPTS))
    (states.sum() + pooled.sum()).backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None
    assert float(weight.grad.abs().sum()) > 0


def test_tiles_decode_nearly_the_same_and_leave_the_autoencoder_as_it_was(pipeline: Any) -> None:
    edge = torch.where(torch.arange(128) < 80, -0.5, 0.5)
    latents = SDXL.encode_images(pipeline, (edge[:, None] + edge).expand(1, 3, 128, 128))
    whole = SDXL.decode_images(pipeline, latents)
    tiled = SDXL.decode_images(pipeline, latents, tile=64)

    assert not torch.equal(tiled, whole)
    assert float((tiled - whole).abs().mean()) < 0.1
    assert torch.equal(SDXL.decode_images(pipeline, latents), whole)
