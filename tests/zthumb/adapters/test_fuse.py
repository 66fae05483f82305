"""A base with adapters fused into its weights generates what the base with the adapters applied generates."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from foundation.errors import BadInput
from tests.adapters import random_adapter
from zthumb import families
from zthumb.adapters import apply
from zthumb.adapters.adapter import Adapter
from zthumb.adapters.fuse import fuse

pytestmark = pytest.mark.slow

SDXL = families.get("sdxl")


def _generated(base: Path, weighted: list[tuple[Adapter, float]]) -> NDArray[np.float32]:
    pipeline = SDXL.load(base, torch.float32, torch.device("cpu"))
    components = {component: getattr(pipeline, component) for component in SDXL.adapted_components}
    for number, (adapter, _) in enumerate(weighted):
        apply.inject(components, adapter, str(number))
    weights = {str(number): weight for number, (_, weight) in enumerate(weighted)}
    apply.set_weights(apply.adapted_modules(components), weights)
    output = pipeline("a red star", num_inference_steps=3, generator=torch.Generator().manual_seed(1), output_type="np")
    image: NDArray[np.float32] = output.images[0]
    return image


def test_the_fused_base_generates_as_the_adapted_one(miniature: Path, tmp_path: Path) -> None:
    weighted = [
        (random_adapter(miniature, strength=0.1), 0.7),
        (random_adapter(miniature, rank=2, targets="attention+feed-forward", strength=0.1), 0.3),
    ]
    fuse(miniature, weighted, tmp_path / "fused")
    fused, adapted, original = _generated(tmp_path / "fused", []), _generated(miniature, weighted), _generated(miniature, [])
    # The fused weights are rounded to the base's fp16.
    effect = np.abs(fused - original).mean()
    assert effect > 0.01
    assert np.abs(fused - adapted).mean() < effect / 20


def test_a_dora_with_another_adapter_is_refused(miniature: Path, tmp_path: Path) -> None:
    weighted = [(random_adapter(miniature, use_dora=True), 1.0), (random_adapter(miniature), 1.0)]
    with pytest.raises(BadInput, match="DoRA"):
        fuse(miniature, weighted, tmp_path / "fused")
    assert not (tmp_path / "fused").exists()
