"""Several backends in memory: which is unloaded first, which stay, and when one is idle."""

import time
from pathlib import Path
from typing import cast

import pytest
import torch

from tests.conftest import ROOT
from tests.zthumb.server.conftest import pixels, settings, started
from zthumb.backends.base import BaseBackend
from zthumb.server.queue.loaded_backends import LoadedBackends, LocationKey
from zthumb.server.queue.memory_planner import PlannedBackend

REQUEST = {"prompt": "a photo of a red star on a blue background", "seed": 7, "steps": 1}


def _key(name: str) -> LocationKey:
    return ("full", Path(name), Path(name))


class _Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


def _loaded(clock: _Clock, names: str, pinned: str = "", idle_s: float | None = None) -> LoadedBackends:
    """Backends that were loaded one second after another."""
    loaded = LoadedBackends(torch.device("cpu"), idle_s, clock)
    for name in names:
        clock.now += 1
        loaded.add(_key(name), cast(BaseBackend, object()), cast(PlannedBackend, None), name in pinned)
    return loaded


def _names(loaded: LoadedBackends, names: str) -> str:
    return "".join(name for name in names if _key(name) in loaded)


def test_the_least_recently_used_is_unloaded_first_and_no_more_than_need_be(clock: _Clock) -> None:
    loaded = _loaded(clock, "abc")
    clock.now += 1
    loaded.use(_key("a"))

    loaded.make_room(lambda: len(list(loaded)) < 3, keep=_key("d"))

    assert _names(loaded, "abc") == "ac"


def test_pinned_ones_and_the_one_in_use_stay(clock: _Clock) -> None:
    loaded = _loaded(clock, "abc", pinned="a")

    loaded.make_room(lambda: False, keep=_key("c"))

    assert _names(loaded, "abc") == "ac"


def test_one_without_an_image_for_long_is_idle(clock: _Clock) -> None:
    loaded = _loaded(clock, "abc", pinned="a", idle_s=10)
    assert loaded.seconds_until_idle() == 9

    clock.now += 9
    loaded.unload_idle()

    assert _names(loaded, "abc") == "ac"
    assert loaded.seconds_until_idle() == 1


def test_nothing_is_idle_unless_that_is_set(clock: _Clock) -> None:
    loaded = _loaded(clock, "ab")
    clock.now += 1e6

    loaded.unload_idle()

    assert _names(loaded, "ab") == "ab"
    assert loaded.seconds_until_idle() is None


def test_an_idle_model_is_unloaded_and_generates_the_same_image_when_it_is_needed(models: Path) -> None:
    with started(settings(models, idle_unload_s=0.2)) as client:
        pool = client.app.state.service.pool  # type: ignore[attr-defined]
        first = pixels(client.post("/generate", json=REQUEST))
        deadline = time.monotonic() + 240
        while list(pool.loaded) and time.monotonic() < deadline:
            time.sleep(0.02)
        # The thread that generates unloads it by itself.
        assert not list(pool.loaded)
        assert (pixels(client.post("/generate", json=REQUEST)) == first).all()


def test_two_models_stay_within_a_budget_that_holds_both_and_else_one_goes(models: Path) -> None:
    other = str(ROOT / "models" / "mini-sd15")
    (models.parent / "presets").mkdir(exist_ok=True)
    for budget, count in (("1GB", 2), ("60MB", 1)):
        with started(settings(models, memory_budget=budget, presets_folder=_presets(models, other))) as client:
            pixels(client.post("/generate", json=REQUEST))
            pixels(client.post("/generate", json={**REQUEST, "preset": "other"}))
            assert len(list(client.app.state.service.pool.loaded)) == count  # type: ignore[attr-defined]


def test_a_larger_image_than_planned_unloads_what_it_does_not_fit_beside(models: Path) -> None:
    presets = _presets(models, str(ROOT / "models" / "mini-sd15"))
    with started(settings(models, memory_budget="95MB", presets_folder=presets)) as client:
        pool = client.app.state.service.pool  # type: ignore[attr-defined]
        pixels(client.post("/generate", json={**REQUEST, "preset": "other"}))
        assert len(list(pool.loaded)) == 2
        pixels(client.post("/generate", json={**REQUEST, "width": 256, "height": 256}))
        assert len(list(pool.loaded)) == 1


def test_a_model_that_does_not_fit_beside_a_pinned_one_is_refused(models: Path) -> None:
    own, other = str(models / "mini-sdxl"), str(ROOT / "models" / "mini-sd15")
    budget = settings(models, memory_budget="60MB", model=own, pinned_models=own, presets_folder=_presets(models, other))
    with started(budget) as client:
        refused = client.post("/generate", json={**REQUEST, "preset": "other"})
        generated = client.post("/generate", json=REQUEST)

    assert refused.status_code == 422
    assert "does not fit beside the pinned models" in refused.text
    assert generated.status_code == 200


def _presets(models: Path, base: str) -> Path:
    folder = models.parent / "presets"
    folder.mkdir(exist_ok=True)
    (folder / "other.yaml").write_text(f"purpose: another base\nbase: {base}\n", encoding="utf-8")
    return folder
