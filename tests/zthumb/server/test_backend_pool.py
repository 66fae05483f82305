"""Which variant a request goes to, and what is said of it; nothing is loaded for that."""

from pathlib import Path

import pytest
import torch

from foundation.errors import BadInput
from tests.conftest import MINIATURE, ROOT
from zthumb import backends, families
from zthumb.gguf.write import write
from zthumb.memory import room
from zthumb.server.backend_pool import BackendPool
from zthumb.server.request_resolver import BackendKey, Model
from zthumb.server.settings import Settings
from zthumb.sources.resolve import Resolver


def _pool(**settings: str) -> BackendPool:
    return BackendPool(Settings(**settings), Resolver())


def _own(pool: BackendPool, asked: str) -> tuple[str, str]:
    """The variant of the server's own base, and why."""
    backend_key, why = pool.choose(asked, pool.own)
    return backend_key.variant, why


@pytest.fixture
def pool() -> BackendPool:
    return _pool(model=str(MINIATURE))


@pytest.mark.parametrize(
    ("free", "why"),
    [
        (2**40, "full needs 0.1 GiB of 1024.0 GiB that are free"),
        (1, "full would need 0.1 GiB of 0.0 GiB that are free; turbo would need 0.1 GiB of 0.0 GiB that are free; full is tried"),
    ],
)
def test_auto_takes_the_first_that_fits_and_says_why(
    pool: BackendPool, monkeypatch: pytest.MonkeyPatch, free: int, why: str
) -> None:
    def told(_: torch.device) -> int:
        return free

    monkeypatch.setattr(room, "free", told)
    name, reason = _own(pool, "auto")
    assert name == "full"
    assert reason.startswith(why)


def test_auto_takes_few_bits_where_the_whole_does_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mini-sdxl").symlink_to(MINIATURE)
    write(MINIATURE, families.get("sdxl"), "q4_0", tmp_path / "mini-sdxl.gguf")
    pool = _pool(model=str(tmp_path / "mini-sdxl"))
    whole, few = (backends.get(name).weights(place, 4) for name, place in pool.places(pool.own).items())
    # Given memory for the one and not for the other
    monkeypatch.setattr(room, "free", lambda _: round(1.3 * (whole + few) / 2))

    name, reason = _own(pool, "auto")

    assert name == "gguf"
    assert "full would need" in reason
    assert "gguf needs" in reason


def test_where_only_the_few_step_base_is_here_auto_takes_that(tmp_path: Path) -> None:
    pool = _pool(model=str(tmp_path / "gone"), turbo_model=f"{MINIATURE}-turbo")
    assert _own(pool, "auto")[0] == "turbo"
    with pytest.raises(BadInput, match="no base for full is here; there are turbo"):
        _own(pool, "full")


def test_two_names_of_one_base_are_one_in_memory(pool: BackendPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    by_path, by_name = (BackendKey(model, "full") for model in (pool.own, Model("mini-sdxl")))
    assert pool.backend(by_path) is pool.backend(by_name)
    assert pool.is_loaded(by_name)
