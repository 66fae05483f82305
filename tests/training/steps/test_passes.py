"""The base is asked for the prior's images of several steps at once, which changes neither what it says nor what a step takes."""

from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from tests.training.conftest import prepared_base
from training.model.objective import add_noise
from training.steps.batches import BatchSampler
from training.steps.passes import Pass, Passes

pytestmark = pytest.mark.slow


def _passes(prepared: Path, *settings: str) -> tuple[Passes, list[int], list[tuple[Pass, torch.Tensor]]]:
    """The passes of a run, how many images the base is asked for in each call from now on, and step 1's passes with what the
    base says of each alone."""
    recipe, base, trained, prior = prepared_base(prepared, *settings)
    accelerator = Accelerator(cpu=True)
    passes = Passes(recipe, base, BatchSampler(recipe, trained, prior, len(base.levels)), accelerator)
    found = []
    for one in passes.of(1):
        batch = one.batch
        noisy = add_noise(batch.latents, batch.noise, base.levels, batch.timesteps)
        with torch.no_grad(), base.alone():
            found.append((one, base.predict(noisy, batch.timesteps, batch.conditioning)[batch.prior]))
    asked = list[int]()
    base.adapted.register_forward_hook(lambda _, given, __: asked.append(len(given[0])))
    return passes, asked, found


@pytest.mark.parametrize(
    "settings",
    [("batch_size=6", "prior.batch_size=2"), ("batch_size=1", "prior.batch_size=1", "gradient_accumulation_steps=4")],
    ids=str,
)
def test_the_base_says_of_several_steps_images_what_it_says_of_each_alone(prepared: Path, settings: tuple[str, ...]) -> None:
    _, _, found = _passes(prepared, *settings)
    assert sum(len(one.kept) for one, _ in found) == sum(int(one.batch.prior.sum()) for one, _ in found) > 0
    for one, alone in found:
        torch.testing.assert_close(one.kept, alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("settings", "asked"),
    [
        (("batch_size=6", "prior.batch_size=2"), [8]),
        (("batch_size=1", "prior.batch_size=4"), [4] * 4),
        (("batch_size=1", "prior.batch_size=1", "gradient_accumulation_steps=4"), [2, 2] * 4),
    ],
    ids=str,
)
def test_the_base_is_asked_for_no_more_images_than_a_pass_learns_from(
    prepared: Path, settings: tuple[str, ...], asked: list[int]
) -> None:
    passes, calls, _ = _passes(prepared, *settings)
    for step in range(4, 8):
        passes.of(step)
    assert calls == asked


def test_a_run_that_goes_on_in_the_midst_asks_for_the_same_images(prepared: Path) -> None:
    passes, _, _ = _passes(prepared, "batch_size=6", "prior.batch_size=2")
    whole = [passes.of(step)[0].kept for step in range(4, 8)]
    passes, _, _ = _passes(prepared, "batch_size=6", "prior.batch_size=2")
    assert torch.equal(passes.of(6)[0].kept, whole[2])
    assert torch.equal(passes.of(7)[0].kept, whole[3])


def test_without_a_prior_nothing_is_asked(prepared: Path) -> None:
    recipe, base, trained, _ = prepared_base(prepared, "prior.weight=0")
    asked = list[int]()
    base.adapted.register_forward_hook(lambda _, given, __: asked.append(len(given[0])))
    passes = Passes(recipe, base, BatchSampler(recipe, trained, None, len(base.levels)), Accelerator(cpu=True))
    assert [len(one.kept) for one in passes.of(0)] == [0]
    assert asked == []
