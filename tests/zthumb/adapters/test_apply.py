"""What an adapter on the base does is what its matrices say, and nothing is left of it afterwards."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.zthumb.adapters.conftest import layer
from zthumb import families
from zthumb.adapters import apply
from zthumb.adapters.adapter import Adapter
from zthumb.adapters.module_shapes import ModuleShapes

pytestmark = pytest.mark.slow

SDXL = families.get("sdxl")
LINEAR = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
CONVOLUTION = "unet.up_blocks.1.resnets.0.conv1"


@pytest.fixture
def parts(miniature: Path) -> dict[str, Any]:
    pipeline = SDXL.load(miniature, torch.float32, torch.device("cpu"))
    return {part: getattr(pipeline, part) for part in SDXL.adapted_components}


def _weights(parts: dict[str, Any]) -> dict[str, Tensor]:
    return {f"{part}.{name}": value.clone() for part, model in parts.items() for name, value in model.state_dict().items()}


def _in_files(name: str) -> str:
    return name.replace("text_encoder.", "text_encoder.text_model.").removesuffix(".weight")


def test_weights_change_by_the_weighted_sum_of_both_adapters(parts: dict[str, Any], adapter: Adapter, base: ModuleShapes) -> None:
    before = _weights(parts)
    other = Adapter({path: layer(base, path, rank=2, scale=0.3, seed=99) for path in list(adapter.layers)[::2]})
    apply.inject(parts, adapter, "one")
    apply.inject(parts, other, "other")
    apply.set_weights(apply.adapted_modules(parts), {"one": 0.5, "other": -1.0})
    apply.merge(parts)
    after = _weights(parts)
    assert after.keys() == before.keys()
    changed = set()
    for name, weight in after.items():
        path = _in_files(name)
        expected = before[name].clone()
        if path in adapter.layers:
            expected += 0.5 * adapter.layers[path].change()
        if path in other.layers:
            expected -= other.layers[path].change()
        assert torch.allclose(weight, expected, atol=1e-4), name
        if not torch.equal(weight, before[name]):
            changed.add(path)
    assert changed == set(adapter.layers)


def test_taken_off_nothing_is_left(parts: dict[str, Any], adapter: Adapter) -> None:
    before, modules = _weights(parts), {part: dict(model.named_modules()) for part, model in parts.items()}
    apply.inject(parts, adapter, "one")
    apply.set_weights(apply.adapted_modules(parts), {"one": 0.7})
    apply.unload(parts)
    assert all(torch.equal(value, before[name]) for name, value in _weights(parts).items())
    for part, model in parts.items():
        assert dict(model.named_modules()).items() == modules[part].items(), "every module is the object it was"
        assert not hasattr(model, "peft_config")


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_a_dora_turns_the_weight_and_gives_it_its_own_norms(parts: dict[str, Any], base: ModuleShapes, weight: float) -> None:
    before = _weights(parts)
    layers = {}
    for path in (LINEAR, CONVOLUTION):
        norms = torch.rand(base.shapes[path][0], generator=torch.Generator().manual_seed(1)) + 0.5
        layers[path] = replace(layer(base, path, scale=0.1), magnitude=norms)
    apply.inject(parts, Adapter(layers), "one")
    apply.set_weights(apply.adapted_modules(parts), {"one": weight})
    apply.merge(parts)
    for path, each in layers.items():
        own = before[f"{path}.weight"]
        turned = (own + weight * each.change()).flatten(1)
        assert each.magnitude is not None
        norms = own.flatten(1).norm(dim=1).lerp(each.magnitude, weight)
        expected = (norms / turned.norm(dim=1))[:, None] * turned
        assert torch.allclose(_weights(parts)[f"{path}.weight"].flatten(1), expected, atol=1e-4), path
        assert (weight == 0) == torch.equal(_weights(parts)[f"{path}.weight"], own)


def test_only_those_that_are_weighed_count(parts: dict[str, Any], base: ModuleShapes, adapter: Adapter) -> None:
    before = _weights(parts)
    apply.inject(parts, adapter, "everywhere")
    apply.inject(parts, Adapter({LINEAR: layer(base, LINEAR, seed=5)}), "unet alone")
    apply.set_weights(apply.adapted_modules(parts), {"everywhere": 1.0, "unet alone": 1.0})
    apply.set_weights(apply.adapted_modules(parts), {"unet alone": 1.0})
    assert not any(parameter.requires_grad for model in parts.values() for parameter in model.parameters())
    apply.merge(parts)
    assert [name for name, value in _weights(parts).items() if not torch.equal(value, before[name])] == [f"{LINEAR}.weight"]
