"""The base predicts for the prior's images of several steps in one call, which changes neither its predictions nor a step."""

from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from tests.training.conftest import prepared_base
from training.steps.batches import BatchSampler
from training.steps.passes import Pass, Passes

pytestmark = pytest.mark.slow

LARGE = ("batch_size=6", "prior.batch_size=2")
ACCUMULATED = ("batch_size=1", "prior.batch_size=1", "gradient_accumulation_steps=4")


def _passes(prepared: Path, *settings: str) -> tuple[Passes, list[int], list[tuple[Pass, torch.Tensor]]]:
    """The passes of a run, the number of images in each later call of the base, and step 1's passes with separate predictions."""
    recipe, base, trained, prior = prepared_base(prepared, *settings)
    accelerator = Accelerator(cpu=True)
    passes = Passes(recipe, base, BatchSampler(recipe, trained, prior, base.process), accelerator)
    separately = []
    for one_pass in passes.passes_of(1):
        batch = one_pass.batch
        noisy = base.process.add_noise(batch.latents, batch.noise, batch.times)
        with torch.no_grad(), base.adapter_disabled():
            separately.append((one_pass, base.predict(noisy, batch.times, batch.conditioning)[batch.prior]))
    calls = list[int]()
    base.adapted.register_forward_hook(lambda _, inputs, __: calls.append(len(inputs[0])))
    return passes, calls, separately


@pytest.mark.parametrize("settings", [LARGE, ACCUMULATED], ids=str)
def test_the_base_predicts_for_several_steps_what_it_predicts_for_each(prepared: Path, settings: tuple[str, ...]) -> None:
    _, _, passes = _passes(prepared, *settings)

    assert sum(len(one.base_prediction) for one, _ in passes) == sum(int(one.batch.prior.sum()) for one, _ in passes) > 0
    for one_pass, separate in passes:
        torch.testing.assert_close(one_pass.base_prediction, separate, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [(LARGE, [8]), (("batch_size=1", "prior.batch_size=4"), [4] * 4), (ACCUMULATED, [2, 2] * 4)],
    ids=str,
)
def test_the_base_never_gets_more_images_than_a_pass_learns_from(
    prepared: Path, settings: tuple[str, ...], expected: list[int]
) -> None:
    passes, calls, _ = _passes(prepared, *settings)

    for step in range(4, 8):
        passes.passes_of(step)

    assert calls == expected


def test_a_run_that_is_resumed_between_two_steps_makes_the_same_calls(prepared: Path) -> None:
    passes, _, _ = _passes(prepared, *LARGE)
    whole = [passes.passes_of(step)[0].base_prediction for step in range(4, 8)]

    passes, _, _ = _passes(prepared, *LARGE)

    assert torch.equal(passes.passes_of(6)[0].base_prediction, whole[2])
    assert torch.equal(passes.passes_of(7)[0].base_prediction, whole[3])


def test_without_a_prior_the_base_predicts_nothing(prepared: Path) -> None:
    recipe, base, trained, _ = prepared_base(prepared, "prior.weight=0")
    calls = list[int]()
    base.adapted.register_forward_hook(lambda _, inputs, __: calls.append(len(inputs[0])))

    passes = Passes(recipe, base, BatchSampler(recipe, trained, None, base.process), Accelerator(cpu=True))

    assert [len(one.base_prediction) for one in passes.passes_of(0)] == [0]
    assert calls == []
