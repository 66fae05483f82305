"""The choice of a variant and its reason, for which nothing is loaded."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from foundation.errors import BadInput
from tests.adapters import MINI_SDXL, random_adapter
from tests.conftest import MINIATURE, ROOT
from zthumb import backends, families
from zthumb.adapters.adapter_cache import Lora
from zthumb.adapters.layouts import save_kohya
from zthumb.backends.gguf import write_denoiser
from zthumb.generation.parameters import GenerationParams
from zthumb.server.queue import backend_pool
from zthumb.server.queue.backend_pool import BackendPool
from zthumb.server.request_resolver import BackendKey, Model
from zthumb.server.settings import Settings
from zthumb.sources.resolve import Resolver


def _pool(**settings: str) -> BackendPool:
    return BackendPool(Settings(**settings), Resolver())


def _choose(pool: BackendPool, variant: str) -> tuple[str, str]:
    """Return the variant chosen for the server's default model, and the reason."""
    backend_key, reason = pool.choose(variant, pool.default_model)
    return backend_key.variant, reason


@pytest.fixture
def pool() -> BackendPool:
    return _pool(model=str(MINIATURE))


@pytest.mark.parametrize(
    ("free_bytes", "expected_reason"),
    [
        (2**40, "full needs 0.1 GiB of 1024.0 GiB free"),
        (1, "full would need 0.1 GiB of 0.0 GiB free; turbo would need 0.1 GiB of 0.0 GiB free; full is tried"),
    ],
)
def test_auto_takes_the_first_variant_that_fits_and_gives_the_reason(
    pool: BackendPool, monkeypatch: pytest.MonkeyPatch, free_bytes: int, expected_reason: str
) -> None:
    def free(_: torch.device, __: float | None = None) -> int:
        return free_bytes

    monkeypatch.setattr(backend_pool, "free_bytes", free)
    name, reason = _choose(pool, "auto")
    assert name == "full"
    assert reason.startswith(expected_reason)


def test_auto_takes_the_gguf_variant_if_the_full_one_does_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mini-sdxl").symlink_to(MINIATURE)
    write_denoiser(MINIATURE, families.get("sdxl"), "q4_0", tmp_path / "mini-sdxl.gguf")
    pool = _pool(model=str(tmp_path / "mini-sdxl"))
    full_bytes, gguf_bytes = (
        backends.get(name).weights_bytes(location, 4) for name, location in pool.locations(pool.default_model).items()
    )
    # Given free memory for gguf but not for full
    monkeypatch.setattr(backend_pool, "free_bytes", lambda *_: round(1.3 * (full_bytes + gguf_bytes) / 2))

    name, reason = _choose(pool, "auto")

    assert name == "gguf"
    assert "full would need" in reason
    assert "gguf needs" in reason


def test_auto_takes_turbo_if_only_the_few_step_base_is_available(tmp_path: Path) -> None:
    pool = _pool(model=str(tmp_path / "gone"), turbo_model=f"{MINIATURE}-turbo")
    assert _choose(pool, "auto")[0] == "turbo"
    with pytest.raises(BadInput, match="no weights for full are available, only for turbo"):
        _choose(pool, "full")


def test_two_names_of_one_base_share_one_loaded_backend(pool: BackendPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    by_path, by_name = (BackendKey(model, "full") for model in (pool.default_model, Model("mini-sdxl")))
    assert pool.backend(by_path) is pool.backend(by_name)
    assert pool.is_loaded(by_name)


@pytest.fixture
def few_step_adapter(tmp_path: Path) -> Path:
    """An adapter in the place of one that makes few steps enough: what it changes can be seen."""
    file = tmp_path / "adapter.safetensors"
    save_kohya(random_adapter(MINIATURE, strength=0.15), file, *MINI_SDXL, {})
    return file


def test_with_a_few_step_adapter_turbo_is_the_base_with_it_and_full_is_not(tmp_path: Path, few_step_adapter: Path) -> None:
    # Given a base without a few-step sibling, and a server for which it is one itself
    (tmp_path / "alone").symlink_to(MINIATURE)
    merging = _pool(model=str(tmp_path / "alone"), turbo_adapter=str(few_step_adapter), device="cpu")
    applying = _pool(model=str(tmp_path / "alone"), turbo_model=str(tmp_path / "alone"), device="cpu")
    turbo, full = (BackendKey(merging.default_model, variant) for variant in ("turbo", "full"))
    assert list(merging.locations(merging.default_model)) == ["full", "turbo"]
    assert (merging.limits(turbo).steps, merging.limits(full).steps) == ((1, 8), (1, 150))

    def image(pool: BackendPool, adapters: Sequence[Lora] = ()) -> NDArray[np.int64]:
        params, backend = GenerationParams("a red star", None, 128, 128, seed=1, steps=4, guidance_scale=0.0), pool.backend(turbo)
        with backend.apply_lora(adapters) as applied:
            return np.asarray(backend.generate([params], lambda *_: None, applied.learned_tokens)[0]).astype(np.int64)

    # Then its images are those of the base with the adapter applied
    merged = image(merging)
    assert np.abs(merged - image(applying)).mean() > 2
    assert np.abs(merged - image(applying, [Lora(few_step_adapter, 1.0)])).max() <= 1
    assert merging.info(turbo).base_sha256 != applying.info(turbo).base_sha256


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"turbo_model": f"{MINIATURE}-turbo"}, "ZTHUMB_TURBO_ADAPTER: ZTHUMB_TURBO_MODEL is set. Leave it out."),
        ({"turbo_adapter": "models/gone.safetensors"}, "ZTHUMB_TURBO_ADAPTER: models/gone.safetensors"),
    ],
    ids=["with another turbo base", "missing"],
)
def test_a_few_step_adapter_that_cannot_be_used_is_refused_at_the_start(
    few_step_adapter: Path, settings: dict[str, str], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        _pool(**{"model": str(MINIATURE), "turbo_adapter": str(few_step_adapter), **settings})
