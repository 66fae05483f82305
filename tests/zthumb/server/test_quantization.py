"""Adapters on quantized weights, over HTTP: no image is black, and the adapter has an effect."""

from pathlib import Path

import numpy as np
import pytest
import torch

from foundation.errors import BadInput
from miniature import geometry
from tests.zthumb.server.conftest import pixels, settings, started
from zthumb.memory.quantize import check_quantization

pytestmark = pytest.mark.slow

STAR = {"prompt": "a photo of a large red star on a blue background", "seed": 5, "steps": 10, "deterministic": True}


@pytest.mark.parametrize(
    ("quantization", "precision"),
    [
        ("int8wo", "fp32"),
        ("int8wo", "bf16"),
        ("fp8wo", "bf16"),
        ("int8dq", "bf16"),
        ("nf4", "bf16"),
        pytest.param("fp8dq", "bf16", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")),
        # Products overflow in fp16, and the image is generated again in fp32.
        ("int8wo", "fp16"),
    ],
)
def test_an_adapter_has_an_effect_on_quantized_weights(models: Path, quantization: str, precision: str) -> None:
    with started(settings(models, quantization=quantization, precision=precision)) as client:
        before = client.post("/generate", json=STAR)
        content = geometry.read(pixels(before))
        assert (content.background, content.colour, content.shape) == ("blue", "red", "star")
        adapted = pixels(client.post("/generate", json={**STAR, "loras": [{"id": "strong", "weight": 2.0}]}))
        assert np.abs(adapted.astype(float) - pixels(before).astype(float)).mean() > 0.5
        assert np.array_equal(pixels(client.post("/generate", json=STAR)), pixels(before))


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a GPU")
def test_fp8_products_are_refused_without_a_gpu_that_supports_them() -> None:
    with pytest.raises(BadInput, match="Use int8dq"):
        check_quantization("fp8dq", torch.device("cpu"))
