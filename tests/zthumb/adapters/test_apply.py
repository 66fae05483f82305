"""An adapter changes the base's weights exactly by its matrices, and unloading it restores the base."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.zthumb.adapters.conftest import random_layer
from zthumb import families
from zthumb.adapters import apply
from zthumb.adapters.adapter import Adapter
from zthumb.adapters.module_shapes import ModuleShapes

pytestmark = pytest.mark.slow

SDXL = families.get("sdxl")
LINEAR = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
CONVOLUTION = "unet.up_blocks.1.resnets.0.conv1"


@pytest.fixture
def components(miniature: Path) -> dict[str, Any]:
    pipeline = SDXL.load(miniature, torch.float32, torch.device("cpu"))
    return {component: getattr(pipeline, component) for component in SDXL.adapted_components}


def _weights(components: dict[str, Any]) -> dict[str, Tensor]:
    return {
        f"{component}.{name}": value.clone()
        for component, model in components.items()
        for name, value in model.state_dict().items()
    }


def _adapter_path(name: str) -> str:
    return name.replace("text_encoder.", "text_encoder.text_model.").removesuffix(".weight")


def test_weights_change_by_the_weighted_sum_of_both_adapters(
    components: dict[str, Any], adapter: Adapter, base: ModuleShapes
) -> None:
    before = _weights(components)
    second = Adapter({path: random_layer(base, path, rank=2, scale=0.3, seed=99) for path in list(adapter.layers)[::2]})
    apply.inject(components, adapter, "first")
    apply.inject(components, second, "second")
    apply.set_weights(apply.adapted_modules(components), {"first": 0.5, "second": -1.0})
    apply.merge(components)
    after = _weights(components)
    assert after.keys() == before.keys()
    changed = set()
    for name, weight in after.items():
        path = _adapter_path(name)
        expected = before[name].clone()
        if path in adapter.layers:
            expected += 0.5 * adapter.layers[path].change()
        if path in second.layers:
            expected -= second.layers[path].change()
        assert torch.allclose(weight, expected, atol=1e-4), name
        if not torch.equal(weight, before[name]):
            changed.add(path)
    assert changed == set(adapter.layers)


def test_unloading_restores_every_weight_and_module(components: dict[str, Any], adapter: Adapter) -> None:
    before = _weights(components)
    modules = {component: dict(model.named_modules()) for component, model in components.items()}
    apply.inject(components, adapter, "first")
    apply.set_weights(apply.adapted_modules(components), {"first": 0.7})
    apply.unload(components)
    assert all(torch.equal(value, before[name]) for name, value in _weights(components).items())
    for component, model in components.items():
        assert dict(model.named_modules()).items() == modules[component].items(), "every module is the original object"
        assert not hasattr(model, "peft_config")


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_a_dora_adds_its_product_and_then_rescales_the_rows_to_its_norms(
    components: dict[str, Any], base: ModuleShapes, weight: float
) -> None:
    before = _weights(components)
    layers = {}
    for path in (LINEAR, CONVOLUTION):
        norms = torch.rand(base.shapes[path][0], generator=torch.Generator().manual_seed(1)) + 0.5
        layers[path] = replace(random_layer(base, path, scale=0.1), magnitude=norms)
    apply.inject(components, Adapter(layers), "first")
    apply.set_weights(apply.adapted_modules(components), {"first": weight})
    apply.merge(components)
    for path, layer in layers.items():
        original = before[f"{path}.weight"]
        unscaled = (original + weight * layer.change()).flatten(1)
        assert layer.magnitude is not None
        norms = original.flatten(1).norm(dim=1).lerp(layer.magnitude, weight)
        expected = (norms / unscaled.norm(dim=1))[:, None] * unscaled
        assert torch.allclose(_weights(components)[f"{path}.weight"].flatten(1), expected, atol=1e-4), path
        assert (weight == 0) == torch.equal(_weights(components)[f"{path}.weight"], original)


def test_only_adapters_with_a_weight_are_active(components: dict[str, Any], base: ModuleShapes, adapter: Adapter) -> None:
    before = _weights(components)
    apply.inject(components, adapter, "all components")
    apply.inject(components, Adapter({LINEAR: random_layer(base, LINEAR, seed=5)}), "only unet")
    apply.set_weights(apply.adapted_modules(components), {"all components": 1.0, "only unet": 1.0})
    apply.set_weights(apply.adapted_modules(components), {"only unet": 1.0})
    assert not any(parameter.requires_grad for model in components.values() for parameter in model.parameters())
    apply.merge(components)
    changed = [name for name, value in _weights(components).items() if not torch.equal(value, before[name])]
    assert changed == [f"{LINEAR}.weight"]
