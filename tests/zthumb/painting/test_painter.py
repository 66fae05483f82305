"""What is painted: by every named scheduler, the same each time, and never black."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from foundation.errors import StageFailed
from miniature import geometry
from tests.conftest import MINIATURE
from zthumb import families
from zthumb.painting import schedulers
from zthumb.painting.painter import Painter, Picture

pytestmark = pytest.mark.slow

SDXL = families.get("sdxl")
STAR = Picture("a photo of a large red star on a blue background", None, 128, 128, seed=5, steps=12, guidance_scale=5.0)


def _pipeline(dtype: torch.dtype = torch.float32) -> Any:
    return SDXL.load(MINIATURE, dtype, torch.device("cpu"))


@pytest.fixture(scope="module")
def painter() -> Painter:
    return Painter(_pipeline(), SDXL)


def _painted(painter: Painter, picture: Picture) -> NDArray[np.uint8]:
    return np.asarray(painter.paint([picture])[0])


@pytest.mark.parametrize("name", schedulers.NAMES)
def test_every_named_scheduler_paints_what_is_asked_for_and_the_same_again(painter: Painter, name: str) -> None:
    # LCM's steps are for models that were distilled for them: others it takes too far, but in the right direction.
    picture = replace(STAR, scheduler=name, steps=25, guidance_scale=1.5 if name == "lcm" else 5.0)
    painted = _painted(painter, picture)

    seen = geometry.read(painted)
    assert seen.background == "blue"
    assert name == "lcm" or (seen.colour, seen.shape) == ("red", "star")
    assert np.array_equal(_painted(painter, picture), painted)


def test_without_a_name_it_is_the_base_s_own(painter: Painter) -> None:
    assert np.array_equal(_painted(painter, STAR), _painted(painter, replace(STAR, scheduler="euler")))


def test_each_picture_of_several_is_nearly_what_it_is_alone(painter: Painter) -> None:
    several = [STAR, replace(STAR, seed=6), replace(STAR, prompt="a photo of a green ring on a white background", seed=7)]
    for together, alone in zip(painter.paint(several), (_painted(painter, each) for each in several), strict=True):
        assert np.abs(np.asarray(together).astype(int) - alone).max() <= 2


def test_every_step_is_told_and_what_is_raised_there_ends_it(painter: Painter) -> None:
    told: list[int] = []
    painter.paint([STAR], lambda step, _: told.append(step))
    assert told == list(range(1, 13))

    def stop(step: int, _: torch.Tensor) -> None:
        if step == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        painter.paint([STAR], stop)
    assert _painted(painter, STAR).std() > 10


def _overflow_in(model: torch.nn.Module, dtype: torch.dtype) -> None:
    """Make the model's output infinite where it computes in ``dtype``, as fp16 does beyond 65504."""

    def spoil(_: Any, __: Any, output: Any) -> Any:
        return (output[0] * float("inf"), *output[1:]) if output[0].dtype == dtype else output

    model.register_forward_hook(spoil)


def test_a_picture_that_overflows_is_painted_again_in_full_precision() -> None:
    pipeline = _pipeline(torch.bfloat16)
    painter, picture = Painter(pipeline, SDXL), replace(STAR, steps=4)
    weights = {name: value.clone() for name, value in pipeline.unet.state_dict().items()}
    _overflow_in(pipeline.unet, torch.bfloat16)

    painted = _painted(painter, picture)

    assert geometry.read(painted).background == "blue"
    assert all(torch.equal(value, weights[name]) for name, value in pipeline.unet.state_dict().items())
    assert pipeline.unet.dtype == torch.bfloat16


def test_a_picture_that_overflows_in_full_precision_too_is_an_error_and_not_black() -> None:
    pipeline = _pipeline()
    _overflow_in(pipeline.unet, torch.float32)
    with pytest.raises(StageFailed, match="not finite"):
        Painter(pipeline, SDXL).paint([replace(STAR, steps=2)])


EDITED = replace(STAR, prompt_parser="lpw", steps=8)


def test_a_prompt_that_changes_is_painted_as_one_and_then_the_other(painter: Painter) -> None:
    red, green = (replace(EDITED, prompt=f"a {colour} star on a blue background") for colour in ("red", "green"))
    edited = [replace(EDITED, prompt=f"a [red:green:{when}] star on a blue background") for when in ("8", "0", "0.5")]

    always_red, always_green, both = (_painted(painter, each) for each in edited)

    assert np.array_equal(always_red, _painted(painter, red))
    assert np.array_equal(always_green, _painted(painter, green))
    assert not np.array_equal(both, always_red)
    assert not np.array_equal(both, always_green)


def test_words_that_take_turns_and_a_longer_negative_prompt_go_together(painter: Painter) -> None:
    one = replace(EDITED, prompt="a red star", negative_prompt="blurry " * 90)

    same = replace(one, prompt="a [red|red] star")

    assert np.array_equal(_painted(painter, same), _painted(painter, one))


def test_parts_are_predicted_each_by_itself(painter: Painter) -> None:
    one = replace(EDITED, prompt="a red star on a blue background")
    other = "a green circle on a white background"

    # What counts nothing changes nothing, and the same part twice is twice the guidance.
    nothing = _painted(painter, replace(one, prompt=f"{one.prompt} AND {other}:0"))
    twice = _painted(painter, replace(one, prompt=f"{one.prompt} AND {one.prompt}"))
    both = _painted(painter, replace(one, prompt=f"{one.prompt} AND {other}"))

    assert np.abs(nothing.astype(int) - _painted(painter, one)).max() <= 2
    assert np.abs(twice.astype(int) - _painted(painter, replace(one, guidance_scale=10.0))).max() <= 2
    assert np.abs(both.astype(int) - nothing).mean() > 2
    # Nothing of it stays on the denoiser.
    assert np.array_equal(_painted(painter, one), _painted(painter, one))


def test_parts_are_kept_apart_for_each_of_several_pictures(painter: Painter) -> None:
    one = replace(EDITED, prompt="a red star AND a [blue:white:0.5] background")
    several = painter.paint([one, replace(one, seed=6)])

    for painted, picture in zip(several, (one, replace(one, seed=6)), strict=True):
        assert np.abs(np.asarray(painted).astype(int) - _painted(painter, picture)).max() <= 2
