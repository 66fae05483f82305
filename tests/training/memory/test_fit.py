"""A recipe with a budget of memory: what changes no result is set for it, and nothing else."""

import pytest
import torch

from foundation.errors import BadInput
from training import recipe as recipes
from training.memory.changes import PlannedRun
from training.memory.fit import available_bytes, fit
from zthumb import families

GPU = torch.device("cuda")


def _planned(name: str, family: str, *settings: str) -> PlannedRun:
    found = families.get(family)
    return PlannedRun(recipes.load(name, settings), found, found.references[0], GPU)


def test_a_recipe_that_fits_stays_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    run = _planned("sd15_4gb", "sd15")

    assert fit(run, "24GB") == run.recipe
    assert "the recipe as it is" in capsys.readouterr().out


def test_flux_is_fitted_to_a_card_of_eight_gigabytes(capsys: pytest.CaptureFixture[str]) -> None:
    # Given captions that T5 cannot encode on the card, and weights that do not fit on it in 4 bits
    run = _planned("flux_12gb", "flux")

    fitted = fit(run, "7GB")

    assert fitted.text_encoders_on_cpu
    assert 0 < fitted.blocks_to_swap < 57
    assert fitted.resume_key(1) == run.recipe.resume_key(1)
    assert run.estimate(fitted.model_dump(mode="json"))[1].peak <= 7 * 2**30
    assert f"--set blocks_to_swap={fitted.blocks_to_swap}" in capsys.readouterr().out


def test_a_recipe_in_epochs_is_fitted_too() -> None:
    assert fit(_planned("sd15_4gb", "sd15", "epochs=3"), "24GB").epochs == 3


def test_what_would_change_the_result_is_named_and_not_done() -> None:
    with pytest.raises(BadInput, match=r"are too little .* With everything .* with .*quantize=nf4.* about"):
        fit(_planned("sdxl_8gb", "sdxl", "previews.prompts=[]"), "2GB")


def test_auto_is_most_of_what_the_device_has() -> None:
    cpu = torch.device("cpu")

    assert available_bytes("12GB", cpu) == 12 * 2**30
    assert 0 < available_bytes("auto", cpu) < 2**50


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["blocks_to_swap=3"], "without gradient_checkpointing"),
        (["gradient_checkpointing=true", "blocks_to_swap=3", "quantize=int8"], "use quantize none or nf4"),
        (["gradient_checkpointing=true", "blocks_to_swap=3", "compile=true"], "leave out compile and shard"),
        (["memory=a lot"], "is not an amount of memory"),
    ],
)
def test_what_cannot_be_combined_is_refused(settings: list[str], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        recipes.load("mini", settings)
