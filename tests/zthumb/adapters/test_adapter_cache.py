"""Loaded adapters are active only in their own request, and the least recently used is evicted for a new one."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from foundation.errors import BadInput
from tests.adapters import MINI_SDXL, random_adapter
from zthumb import families
from zthumb.adapters import module_shapes
from zthumb.adapters.adapter_cache import AdapterCache, Lora
from zthumb.adapters.layouts import save_kohya
from zthumb.diffusion.conditioning import Conditioning

pytestmark = pytest.mark.slow

SDXL = families.get("sdxl")
NO_LIMIT = 2**30


@pytest.fixture
def components(miniature: Path) -> dict[str, Any]:
    pipeline = SDXL.load(miniature, torch.float32, torch.device("cpu"))
    return {component: getattr(pipeline, component) for component in SDXL.adapted_components}


def _cache(components: dict[str, Any], limit: int = NO_LIMIT) -> AdapterCache:
    return AdapterCache(components, module_shapes.of_components("mini-sdxl", components, families.get("sdxl")), limit)


def _file(folder: Path, miniature: Path, name: str, rank: int = 4, strength: float = 0.05) -> Path:
    path = folder / f"{name}.safetensors"
    save_kohya(random_adapter(miniature, rank, strength=strength), path, *MINI_SDXL, {"ss_v2": "False"})
    return path


def _predicted(components: dict[str, Any]) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    noisy = torch.randn(1, 4, 16, 16, generator=generator)
    conditioning = Conditioning.stacked(
        prompt_embeds=torch.randn(1, 77, 256, generator=generator),
        pooled_prompt_embeds=torch.randn(1, 128, generator=generator),
        time_ids=torch.zeros(1, 6),
    )
    with torch.no_grad():
        return SDXL.predict(components["unet"], noisy, torch.tensor([500]), conditioning)


def test_adapters_are_active_inside_the_block_and_leave_no_trace_outside(
    components: dict[str, Any], miniature: Path, tmp_path: Path
) -> None:
    first, second = _file(tmp_path, miniature, "first"), _file(tmp_path, miniature, "second", rank=8)
    cache, base = _cache(components), _predicted(components)
    predictions = []
    for loras in ([Lora(first, 1.0)], [Lora(second, 0.5)], [Lora(first, 1.0), Lora(second, 0.5)], [Lora(first, 1.0)]):
        with cache.apply_lora(loras) as applied:
            predictions.append(_predicted(components))
            assert len(applied.sha256) == len(loras)
        assert torch.equal(_predicted(components), base)
    assert torch.equal(predictions[0], predictions[3])
    assert len({tuple(prediction.flatten().tolist()) for prediction in [base, *predictions]}) == 4
    assert len(cache) == 2


def test_the_least_recently_used_is_evicted(components: dict[str, Any], miniature: Path, tmp_path: Path) -> None:
    files = [_file(tmp_path, miniature, name) for name in "abc"]
    cache, base = _cache(components), _predicted(components)
    with cache.apply_lora([Lora(files[0], 1.0)]):
        pass
    size = cache.size_bytes
    cache = _new_cache(components, cache, limit=2 * size)
    for file in (*files, files[1]):
        with cache.apply_lora([Lora(file, 1.0)]):
            assert cache.size_bytes <= 2 * size
    assert len(cache) == 2
    with pytest.raises(BadInput, match="more than the limit"), cache.apply_lora([Lora(file, 1.0) for file in files]):
        pass
    assert torch.equal(_predicted(components), base)
    cache.clear()
    assert not any("lora" in name for name, _ in components["unet"].named_modules())


def _new_cache(components: dict[str, Any], previous: AdapterCache, limit: int) -> AdapterCache:
    previous.clear()
    return _cache(components, limit)


def test_a_rewritten_file_is_read_again(components: dict[str, Any], miniature: Path, tmp_path: Path) -> None:
    cache, file = _cache(components), _file(tmp_path, miniature, "a")
    with cache.apply_lora([Lora(file, 1.0)]) as first:
        before = _predicted(components)
    _file(tmp_path, miniature, "a", strength=0.1)
    os.utime(file, ns=(1, 1))
    with cache.apply_lora([Lora(file, 1.0)]) as second:
        assert not torch.equal(_predicted(components), before)
    assert first != second


def test_an_adapter_that_changes_nothing_is_refused(components: dict[str, Any], miniature: Path, tmp_path: Path) -> None:
    with (
        pytest.raises(BadInput, match="changes nothing"),
        _cache(components).apply_lora([Lora(_file(tmp_path, miniature, "a", strength=0.0), 1.0)]),
    ):
        pass


def test_an_unusable_second_adapter_leaves_no_trace_of_the_first(
    components: dict[str, Any], miniature: Path, tmp_path: Path
) -> None:
    valid, invalid = _file(tmp_path, miniature, "valid"), tmp_path / "invalid.safetensors"
    invalid.write_bytes(b"bad")
    cache, base = _cache(components), _predicted(components)
    with pytest.raises(BadInput), cache.apply_lora([Lora(valid, 1.0), Lora(invalid, 1.0)]):
        pass
    assert torch.equal(_predicted(components), base)
