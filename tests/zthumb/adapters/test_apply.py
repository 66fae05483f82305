"""What an adapter on the base does is what its matrices say, and nothing is left of it afterwards."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.adapters import random_adapter
from tests.zthumb.adapters.conftest import layer
from zthumb import families
from zthumb.adapters import apply
from zthumb.adapters.adapter import Adapter
from zthumb.adapters.skeleton import Skeleton

pytestmark = pytest.mark.slow

SDXL = families.get("sdxl")


@pytest.fixture
def parts(miniature: Path) -> dict[str, Any]:
    pipeline = SDXL.load(miniature, torch.float32, torch.device("cpu"))
    return {part: getattr(pipeline, part) for part in SDXL.adapted_parts}


def _weights(parts: dict[str, Any]) -> dict[str, Tensor]:
    return {f"{part}.{name}": value.clone() for part, model in parts.items() for name, value in model.state_dict().items()}


def _in_files(name: str) -> str:
    return name.replace("text_encoder.", "text_encoder.text_model.").removesuffix(".weight")


def test_weights_change_by_the_weighted_sum_of_both_adapters(parts: dict[str, Any], adapter: Adapter, base: Skeleton) -> None:
    before = _weights(parts)
    other = Adapter({path: layer(base, path, rank=2, scale=0.3, seed=99) for path in list(adapter.layers)[::2]})
    apply.put_on(parts, adapter, "one")
    apply.put_on(parts, other, "other")
    apply.weigh(parts, {"one": 0.5, "other": -1.0})
    apply.work_in(parts)
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
    apply.put_on(parts, adapter, "one")
    apply.weigh(parts, {"one": 0.7})
    apply.take_off(parts)
    assert all(torch.equal(value, before[name]) for name, value in _weights(parts).items())
    for part, model in parts.items():
        assert dict(model.named_modules()).items() == modules[part].items(), "every module is the object it was"
        assert not hasattr(model, "peft_config")


def test_a_dora_of_its_own_norms_changes_nothing_and_of_others_it_does(miniature: Path, parts: dict[str, Any]) -> None:
    given = random_adapter(miniature, strength=0.0, magnitudes=True)
    before = _weights(parts)
    apply.put_on(parts, given, "one")
    apply.work_in(parts)
    assert all(torch.allclose(value, before[name], atol=1e-5) for name, value in _weights(parts).items())

    apply.put_on(parts, random_adapter(miniature, strength=0.1, magnitudes=True), "two")
    apply.work_in(parts)
    assert any(not torch.allclose(value, before[name], atol=1e-3) for name, value in _weights(parts).items())
