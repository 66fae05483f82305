"""The choice of a variant and its reason, for which nothing is loaded."""

from pathlib import Path

import pytest
import torch

from foundation.errors import BadInput
from tests.conftest import MINIATURE, ROOT
from zthumb import backends, families
from zthumb.backends.gguf import write_denoiser
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
