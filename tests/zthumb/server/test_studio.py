"""Which variant a request goes to, and what is said of it; nothing is loaded for that."""

from pathlib import Path

import pytest
import torch

from foundation.errors import BadInput
from tests.conftest import MINIATURE, ROOT
from zthumb import backends, families
from zthumb.gguf.write import write
from zthumb.memory import room
from zthumb.server.orders import Model, Seat
from zthumb.server.settings import Settings
from zthumb.server.studio import Studio
from zthumb.sources.resolve import Resolver


def _studio(**settings: str) -> Studio:
    return Studio(Settings(**settings), Resolver())


def _own(studio: Studio, asked: str) -> tuple[str, str]:
    """The variant of the server's own base, and why."""
    seat, why = studio.choose(asked, studio.own)
    return seat.variant, why


@pytest.fixture
def studio() -> Studio:
    return _studio(model=str(MINIATURE))


@pytest.mark.parametrize(
    ("free", "why"),
    [
        (2**40, "full needs 0.1 GiB of 1024.0 GiB that are free"),
        (1, "full would need 0.1 GiB of 0.0 GiB that are free; turbo would need 0.1 GiB of 0.0 GiB that are free; full is tried"),
    ],
)
def test_auto_takes_the_first_that_fits_and_says_why(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, free: int, why: str
) -> None:
    def told(_: torch.device) -> int:
        return free

    monkeypatch.setattr(room, "free", told)
    name, reason = _own(studio, "auto")
    assert name == "full"
    assert reason.startswith(why)


def test_auto_takes_few_bits_where_the_whole_does_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mini-sdxl").symlink_to(MINIATURE)
    write(MINIATURE, families.get("sdxl"), "q4_0", tmp_path / "mini-sdxl.gguf")
    studio = _studio(model=str(tmp_path / "mini-sdxl"))
    whole, few = (backends.get(name).weights(place, 4) for name, place in studio.places(studio.own).items())
    # Given memory for the one and not for the other
    monkeypatch.setattr(room, "free", lambda _: round(1.3 * (whole + few) / 2))

    name, reason = _own(studio, "auto")

    assert name == "gguf"
    assert "full would need" in reason
    assert "gguf needs" in reason


def test_where_only_the_few_step_base_is_here_auto_takes_that(tmp_path: Path) -> None:
    studio = _studio(model=str(tmp_path / "gone"), turbo_model=f"{MINIATURE}-turbo")
    assert _own(studio, "auto")[0] == "turbo"
    with pytest.raises(BadInput, match="no base for full is here; there are turbo"):
        _own(studio, "full")


def test_two_names_of_one_base_are_one_in_memory(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    by_path, by_name = (Seat(model, "full") for model in (studio.own, Model("mini-sdxl")))
    assert studio.backend(by_path) is studio.backend(by_name)
    assert studio.is_loaded(by_name)
