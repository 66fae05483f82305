"""What is generated: by every named scheduler, the same each time, and never black."""

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
from zthumb.diffusion import schedulers
from zthumb.generation.image_generator import ImageGenerator
from zthumb.generation.parameters import GenerationParams

pytestmark = pytest.mark.slow

SDXL = families.get("sdxl")
STAR = GenerationParams("a photo of a large red star on a blue background", None, 128, 128, seed=5, steps=12, guidance_scale=5.0)


def _pipeline(dtype: torch.dtype = torch.float32) -> Any:
    return SDXL.load(MINIATURE, dtype, torch.device("cpu"))


@pytest.fixture(scope="module")
def generator() -> ImageGenerator:
    return ImageGenerator(_pipeline(), SDXL, torch.device("cpu"))


def _generated(generator: ImageGenerator, params: GenerationParams) -> NDArray[np.uint8]:
    return np.asarray(generator.generate([params])[0])


@pytest.mark.parametrize("name", schedulers.NAMES)
def test_every_named_scheduler_generates_what_is_asked_for_and_the_same_again(generator: ImageGenerator, name: str) -> None:
    # LCM's steps are for models that were distilled for them: others it takes too far, but in the right direction.
    # PNDM needs more steps than the others.
    params = replace(STAR, scheduler=name, steps=50 if name == "pndm" else 25, guidance_scale=1.5 if name == "lcm" else 5.0)
    generated = _generated(generator, params)

    seen = geometry.read(generated)
    assert seen.background == "blue"
    assert name == "lcm" or (seen.colour, seen.shape) == ("red", "star")
    assert np.array_equal(_generated(generator, params), generated)


def test_without_a_name_it_is_the_base_s_own(generator: ImageGenerator) -> None:
    assert np.array_equal(_generated(generator, STAR), _generated(generator, replace(STAR, scheduler="euler")))


def test_each_image_of_several_is_nearly_what_it_is_alone(generator: ImageGenerator) -> None:
    several = [STAR, replace(STAR, seed=6), replace(STAR, prompt="a photo of a green ring on a white background", seed=7)]
    for together, alone in zip(generator.generate(several), (_generated(generator, each) for each in several), strict=True):
        assert np.abs(np.asarray(together).astype(int) - alone).max() <= 2


def test_every_step_is_reported_and_what_is_raised_there_ends_it(generator: ImageGenerator) -> None:
    steps: list[int] = []
    generator.generate([STAR], lambda step, _: steps.append(step))
    assert steps == list(range(1, 13))

    def stop(step: int, _: torch.Tensor) -> None:
        if step == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        generator.generate([STAR], stop)
    assert _generated(generator, STAR).std() > 10


def _overflow_in(model: torch.nn.Module, dtype: torch.dtype) -> None:
    """Make the model's output infinite where it computes in ``dtype``, as fp16 does beyond 65504."""

    def spoil(_: Any, __: Any, output: Any) -> Any:
        return (output[0] * float("inf"), *output[1:]) if output[0].dtype == dtype else output

    model.register_forward_hook(spoil)


def test_an_image_that_overflows_is_generated_again_in_full_precision() -> None:
    pipeline = _pipeline(torch.bfloat16)
    generator, params = ImageGenerator(pipeline, SDXL, torch.device("cpu")), replace(STAR, steps=4)
    weights = {name: value.clone() for name, value in pipeline.unet.state_dict().items()}
    _overflow_in(pipeline.unet, torch.bfloat16)

    generated = _generated(generator, params)

    assert geometry.read(generated).background == "blue"
    assert all(torch.equal(value, weights[name]) for name, value in pipeline.unet.state_dict().items())
    assert pipeline.unet.dtype == torch.bfloat16


def test_an_image_that_overflows_in_full_precision_too_is_an_error_and_not_black() -> None:
    pipeline = _pipeline()
    _overflow_in(pipeline.unet, torch.float32)
    with pytest.raises(StageFailed, match="not finite"):
        ImageGenerator(pipeline, SDXL, torch.device("cpu")).generate([replace(STAR, steps=2)])


EDITED = replace(STAR, prompt_parser="lpw", steps=8)


def test_a_prompt_that_changes_is_generated_as_one_and_then_the_other(generator: ImageGenerator) -> None:
    red, green = (replace(EDITED, prompt=f"a {colour} star on a blue background") for colour in ("red", "green"))
    edited = [replace(EDITED, prompt=f"a [red:green:{when}] star on a blue background") for when in ("8", "0", "0.5")]

    always_red, always_green, both = (_generated(generator, each) for each in edited)

    assert np.array_equal(always_red, _generated(generator, red))
    assert np.array_equal(always_green, _generated(generator, green))
    assert not np.array_equal(both, always_red)
    assert not np.array_equal(both, always_green)


def test_words_that_take_turns_and_a_longer_negative_prompt_go_together(generator: ImageGenerator) -> None:
    one = replace(EDITED, prompt="a red star", negative_prompt="blurry " * 90)

    same = replace(one, prompt="a [red|red] star")

    assert np.array_equal(_generated(generator, same), _generated(generator, one))


def test_parts_are_predicted_each_by_itself(generator: ImageGenerator) -> None:
    one = replace(EDITED, prompt="a red star on a blue background")
    other = "a green circle on a white background"

    # What counts nothing changes nothing, and the same part twice is twice the guidance.
    nothing = _generated(generator, replace(one, prompt=f"{one.prompt} AND {other}:0"))
    twice = _generated(generator, replace(one, prompt=f"{one.prompt} AND {one.prompt}"))
    both = _generated(generator, replace(one, prompt=f"{one.prompt} AND {other}"))

    assert np.abs(nothing.astype(int) - _generated(generator, one)).max() <= 2
    assert np.abs(twice.astype(int) - _generated(generator, replace(one, guidance_scale=10.0))).max() <= 2
    assert np.abs(both.astype(int) - nothing).mean() > 2
    # Nothing of it stays on the denoiser.
    assert np.array_equal(_generated(generator, one), _generated(generator, one))


def test_parts_are_kept_apart_for_each_of_several_images(generator: ImageGenerator) -> None:
    one = replace(EDITED, prompt="a red star AND a [blue:white:0.5] background")
    several = generator.generate([one, replace(one, seed=6)])

    for generated, params in zip(several, (one, replace(one, seed=6)), strict=True):
        assert np.abs(np.asarray(generated).astype(int) - _generated(generator, params)).max() <= 2
