"""An entry is made once for what it depends on, and never read for anything else."""

import multiprocessing
from pathlib import Path

import pytest
import torch

from training.encoding.cache import Cache, Tensors


def _number(value: float) -> Tensors:
    return {"x": torch.full((64,), value)}


def _never() -> Tensors:
    raise AssertionError("made again")


def test_the_second_time_an_entry_is_read_and_not_made(tmp_path: Path) -> None:
    Cache(tmp_path, 10**6).get("latents", {"image": "a"}, lambda: _number(1))

    found = Cache(tmp_path, 10**6).get("latents", {"image": "a"}, _never)

    assert torch.equal(found["x"], torch.ones(64))


@pytest.mark.parametrize("changed", [{"image": "b"}, {"caption": "c"}, {"resolution": 512}, {"encoder": "other"}])
def test_whatever_changes_makes_another_entry(tmp_path: Path, changed: dict[str, object]) -> None:
    depends_on = {"image": "a", "caption": "b", "resolution": 128, "encoder": "e"}
    cache = Cache(tmp_path, 10**6)
    cache.get("latents", depends_on, lambda: _number(1))

    assert cache.get("latents", {**depends_on, **changed}, lambda: _number(2))["x"][0] == 2
    assert cache.get("latents", depends_on, _never)["x"][0] == 1


@pytest.mark.parametrize("harm", [b"", b"not an entry", b"\xff" * 100])
def test_a_damaged_entry_is_made_again(tmp_path: Path, harm: bytes) -> None:
    cache = Cache(tmp_path, 10**6)
    cache.get("latents", {"image": "a"}, lambda: _number(1))
    next(tmp_path.rglob("*.safetensors")).write_bytes(harm)

    assert cache.get("latents", {"image": "a"}, lambda: _number(1))["x"][0] == 1
    assert cache.get("latents", {"image": "a"}, _never)["x"][0] == 1


def test_over_its_limit_it_forgets_what_was_used_longest_ago(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 1000)
    for name in "abc":
        cache.get("latents", {"image": name}, lambda: _number(1))
    cache.get("latents", {"image": "a"}, _never)

    cache.trim()

    assert sum(path.stat().st_size for path in tmp_path.rglob("*.safetensors")) <= 1000
    cache.get("latents", {"image": "a"}, _never)
    made = cache.misses
    cache.get("latents", {"image": "b"}, lambda: _number(1))
    assert cache.misses == made + 1


def _use(folder: Path, limit: int = 10**6) -> None:
    cache = Cache(folder, limit)
    for number in range(50):
        found = cache.get("latents", {"image": number}, lambda number=number: _number(number))
        assert torch.equal(found["x"], torch.full((64,), float(number)))
        if number % 5 == 0:
            cache.trim()


@pytest.mark.parametrize(("limit", "left"), [(10**6, 50), (2000, 5)])
def test_several_processes_share_it_and_trim_it(tmp_path: Path, limit: int, left: int) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_use, args=(tmp_path, limit)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()

    assert [process.exitcode for process in processes] == [0, 0, 0]
    Cache(tmp_path, limit).trim()
    assert 0 < len(list(tmp_path.rglob("*.safetensors"))) <= left
    assert not list(tmp_path.rglob("*.part"))
