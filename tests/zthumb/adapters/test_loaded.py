"""Adapters lie ready on the base, count in their own block alone, and the longest unused makes room for a new one."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from foundation.errors import BadInput
from tests.adapters import random_adapter
from zthumb import families
from zthumb.adapters import module_shapes
from zthumb.adapters.adapter_cache import AdapterCache, Lora
from zthumb.adapters.layouts import save_kohya
from zthumb.families.base import Conditioning

pytestmark = pytest.mark.slow

SDXL = families.get("sdxl")
ROOM = 2**30


@pytest.fixture
def parts(miniature: Path) -> dict[str, Any]:
    pipeline = SDXL.load(miniature, torch.float32, torch.device("cpu"))
    return {part: getattr(pipeline, part) for part in SDXL.adapted_components}


def _loaded(parts: dict[str, Any], limit: int = ROOM) -> AdapterCache:
    return AdapterCache(parts, module_shapes.of_parts("mini-sdxl", parts), limit)


def _file(folder: Path, miniature: Path, name: str, rank: int = 4, strength: float = 0.05) -> Path:
    path = folder / f"{name}.safetensors"
    save_kohya(random_adapter(miniature, rank, strength=strength), path, 1, {"ss_v2": "False"})
    return path


def _predicted(parts: dict[str, Any]) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    noisy = torch.randn(1, 4, 16, 16, generator=generator)
    told = Conditioning(torch.randn(1, 77, 256, generator=generator), torch.randn(1, 128, generator=generator), torch.zeros(1, 6))
    with torch.no_grad():
        return SDXL.predict(parts["unet"], noisy, torch.tensor([500]), told)


def test_it_counts_inside_and_is_bit_for_bit_gone_outside(parts: dict[str, Any], miniature: Path, tmp_path: Path) -> None:
    one, other = _file(tmp_path, miniature, "one"), _file(tmp_path, miniature, "other", rank=8)
    loaded, base = _loaded(parts), _predicted(parts)
    seen = []
    for wanted in ([Lora(one, 1.0)], [Lora(other, 0.5)], [Lora(one, 1.0), Lora(other, 0.5)], [Lora(one, 1.0)]):
        with loaded.counting(wanted) as applied:
            seen.append(_predicted(parts))
            assert len(applied.sha256) == len(wanted)
        assert torch.equal(_predicted(parts), base)
    assert torch.equal(seen[0], seen[3])
    assert len({tuple(each.flatten().tolist()) for each in [base, *seen]}) == 4
    assert len(loaded) == 2


def test_the_longest_unused_makes_room(parts: dict[str, Any], miniature: Path, tmp_path: Path) -> None:
    files = [_file(tmp_path, miniature, name) for name in "abc"]
    loaded, base = _loaded(parts), _predicted(parts)
    with loaded.counting([Lora(files[0], 1.0)]):
        pass
    one = loaded.bytes
    loaded = _loaded_anew(parts, loaded, limit=2 * one)
    for file in (*files, files[1]):
        with loaded.counting([Lora(file, 1.0)]):
            assert loaded.bytes <= 2 * one
    assert len(loaded) == 2
    with pytest.raises(BadInput, match="there is room for"), loaded.counting([Lora(file, 1.0) for file in files]):
        pass
    assert torch.equal(_predicted(parts), base)
    loaded.clear()
    assert not any("lora" in name for name, _ in parts["unet"].named_modules())


def _loaded_anew(parts: dict[str, Any], before: AdapterCache, limit: int) -> AdapterCache:
    before.clear()
    return _loaded(parts, limit)


def test_a_file_written_anew_is_read_anew(parts: dict[str, Any], miniature: Path, tmp_path: Path) -> None:
    loaded, file = _loaded(parts), _file(tmp_path, miniature, "a")
    with loaded.counting([Lora(file, 1.0)]) as first:
        before = _predicted(parts)
    _file(tmp_path, miniature, "a", strength=0.1)
    os.utime(file, ns=(1, 1))
    with loaded.counting([Lora(file, 1.0)]) as second:
        assert not torch.equal(_predicted(parts), before)
    assert first != second


def test_one_that_changes_nothing_is_refused(parts: dict[str, Any], miniature: Path, tmp_path: Path) -> None:
    with (
        pytest.raises(BadInput, match="changes nothing"),
        _loaded(parts).counting([Lora(_file(tmp_path, miniature, "a", strength=0.0), 1.0)]),
    ):
        pass


def test_a_second_one_that_cannot_be_used_leaves_nothing_of_the_first(
    parts: dict[str, Any], miniature: Path, tmp_path: Path
) -> None:
    good, bad = _file(tmp_path, miniature, "good"), tmp_path / "bad.safetensors"
    bad.write_bytes(b"bad")
    loaded, base = _loaded(parts), _predicted(parts)
    with pytest.raises(BadInput), loaded.counting([Lora(good, 1.0), Lora(bad, 1.0)]):
        pass
    assert torch.equal(_predicted(parts), base)
