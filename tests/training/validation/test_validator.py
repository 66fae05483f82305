"""Looks at held-out images: the same each time, against the base, by timestep."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from foundation.errors import StageFailed
from tests.training.conftest import prepared_base
from training.encoding.encoded_examples import Examples
from training.validation.validator import Validator

pytestmark = pytest.mark.slow


@pytest.fixture
def validator(prepared: Path) -> Validator:
    recipe, base, trained, held_out = prepared_base(prepared)
    return Validator(recipe, base, trained, held_out)


def _shake(validator: Validator) -> None:
    """Make the adapter do something, whatever it is."""
    generator = torch.Generator().manual_seed(0)
    for parameter in validator.base.adapted.parameters():
        if parameter.requires_grad:
            parameter.data += 0.05 * torch.randn(parameter.shape, generator=generator)


def test_an_untrained_adapter_is_the_base(validator: Validator) -> None:
    found = validator.validate(0)

    assert (found.change.mean, found.gap) == (0, 0)
    assert [stratum.timestep for stratum in found.strata] == [125, 375, 625, 875]
    assert found.images == 2


def test_a_loss_that_is_not_finite_is_named_with_image_and_timestep(validator: Validator) -> None:
    next(each for each in validator.base.adapted.parameters() if each.requires_grad).data.fill_(torch.inf)

    with pytest.raises(StageFailed, match=r"the loss of .+\.png, held out, is not finite at timestep 125"):
        validator.validate(1)


def test_a_change_is_measured_at_every_timestep_with_its_interval(validator: Validator) -> None:
    validator.validate(0)
    _shake(validator)

    found = validator.validate(2)

    assert found.change.mean > 0
    assert all(stratum.change.mean != 0 for stratum in found.strata)
    for interval in (found.loss, found.change, *(stratum.loss for stratum in found.strata)):
        assert interval.low is not None
        assert interval.high is not None
        assert interval.low < interval.mean < interval.high
    assert found.loss.mean == pytest.approx(sum(stratum.loss.mean for stratum in found.strata) / 4, rel=1e-5)


def test_the_same_weights_are_found_the_same_whenever_they_are_looked_at(validator: Validator) -> None:
    _shake(validator)

    first, second = validator.validate(2), validator.validate(4)

    assert first.model_copy(update={"step": 4}) == second


def test_what_a_mask_leaves_out_is_not_looked_at(validator: Validator, prepared: Path) -> None:
    recipe, base, trained, held_out = prepared_base(prepared)
    half = torch.zeros(1, *held_out.latents[0].shape[-2:])
    half[:, :, 8:] = 1
    masks = (half,) * len(held_out)
    spoilt = replace(held_out, latents=tuple(torch.where(half > 0, latents, latents + 5) for latents in held_out.latents))

    def loss(examples: Examples) -> float:
        return Validator(recipe, base, trained, examples).validate(0).loss.mean

    assert loss(replace(held_out, masks=masks)) != pytest.approx(loss(held_out), rel=1e-3)
    # What was left out still shows in the other half by way of the denoiser, and is not counted itself.
    assert loss(replace(spoilt, masks=masks)) < 0.5 * loss(spoilt)
