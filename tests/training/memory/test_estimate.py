"""The needs of a run are estimated before it starts, also for SDXL, whose weights are not on this disk."""

import json
import re
from functools import cache
from pathlib import Path

import pytest
import torch
from PIL import Image

from training import prepare_dataset, train_lora
from training import recipe as recipes
from training.memory.estimate import Estimate, estimate
from training.recipe import Recipe
from zthumb import families
from zthumb.sources.bases import known_configuration
from zthumb.sources.local import family_of

pytestmark = pytest.mark.slow


def _sdxl(**values: object) -> Estimate:
    """Estimate a step with one image at 1024² on a GPU; ``values`` override the recipe's."""
    return _estimate(json.dumps(values))


@cache
def _estimate(values: str) -> Estimate:
    recipe = {"base": "x", "resolution": 1024, "batch_size": 1, "precision": "bf16", "prior": {"weight": 0}, **json.loads(values)}
    sdxl = families.get("sdxl")
    return estimate(Recipe.model_validate(recipe), sdxl, sdxl.references[0], torch.device("cuda"))


def test_sdxl_at_1024_needs_about_what_other_trainers_publish() -> None:
    plain, checkpointed = _sdxl(), _sdxl(gradient_checkpointing=True)

    # SimpleTuner publishes 13.0 GiB without gradient checkpointing and 6.5 with it, at batch 1.
    assert 9 < plain.peak / 2**30 < 15
    assert 5 < checkpointed.peak / 2**30 < 7.5
    assert plain.weights == 2 * 2_567_463_684
    assert 1.2 < checkpointed.operations / plain.operations < 1.5


def test_twice_the_batch_is_twice_the_work_and_a_higher_rank_needs_more_memory() -> None:
    batch_1, batch_2, rank_128 = _sdxl(), _sdxl(batch_size=2), _sdxl(adapter={"rank": 128, "alpha": 128})

    assert batch_2.operations == pytest.approx(2 * batch_1.operations, rel=0.01)
    assert 1.8 < batch_2.activations / batch_1.activations < 2.05
    assert rank_128.adapter == 8 * batch_1.adapter


def test_gradient_accumulation_takes_time_but_no_memory() -> None:
    without, with_4_passes = _sdxl(), _sdxl(gradient_accumulation_steps=4)

    assert with_4_passes.operations == 4 * without.operations
    assert with_4_passes.peak == without.peak


def test_adapted_text_encoders_add_their_weights_and_their_adapter() -> None:
    unet_only, with_text_encoders = _sdxl(), _sdxl(adapter={"text_encoders": True})

    # The text towers of CLIP ViT-L and OpenCLIP bigG, with bigG's projection.
    assert with_text_encoders.weights - unet_only.weights == 2 * (123_060_480 + 694_659_840)
    assert with_text_encoders.adapter > unet_only.adapter
    assert with_text_encoders.activations > unet_only.activations
    assert with_text_encoders.operations > unet_only.operations


def test_the_estimate_works_before_the_base_is_downloaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert train_lora.main(["--estimate", "--recipe", "sdxl_12gb"]) == 0
    printed = capsys.readouterr().out
    assert "weights 4.78 GiB" in printed
    assert "tera-operations a step" in printed
    assert list(tmp_path.iterdir()) == []
    assert train_lora.main(["--estimate", "--set", "base=models/gone"]) == 2
    assert "there is no base model" in capsys.readouterr().err


def test_the_recipe_of_the_miniature_fits_a_laptop(miniature: Path) -> None:
    recipe = Recipe.model_validate({"base": "x", "resolution": 128, "batch_size": 8, "prior": {"weight": 0}})

    needed = estimate(recipe, families.get("sdxl"), miniature, torch.device("cpu"))

    assert needed.peak < 2**30


def test_previews_are_included_and_need_less_memory_with_tiles() -> None:
    without, untiled, tiled = _sdxl(), _sdxl(previews={"prompts": ["x"]}), _sdxl(previews={"prompts": ["x"], "tile": 512})

    assert without.previews == 0
    # The autoencoder's last blocks alone have a few activations of 1024 × 1024 × 256 values of four bytes.
    assert 2 * 2**30 < untiled.previews - tiled.previews < 3 * 2**30


@pytest.mark.parametrize(
    ("name", "card_gib"),
    [
        ("sdxl_8gb", 8),
        ("sdxl_12gb", 12),
        ("sd15_2gb", 2),
        ("sd15_4gb", 4),
        ("sd15_24gb", 24),
        ("sd21", 6),
        ("flux", 24),
        ("flux_16gb", 16),
        ("flux_12gb", 12),
        ("flux_8gb", 8),
        ("flux2_klein", 16),
        ("flux2_klein_12gb", 12),
        ("flux2_klein_8gb", 8),
        ("flux2_klein_9b", 24),
        ("flux2_dev", 48),
        ("flux2_dev_24gb", 24),
        ("flux2_dev_16gb", 16),
        ("z_image", 24),
        ("z_image_16gb", 16),
        ("z_image_12gb", 12),
        ("z_image_8gb", 8),
        ("qwen_image", 48),
        ("qwen_image_24gb", 24),
        ("qwen_image_16gb", 16),
        ("qwen_image_12gb", 12),
    ],
)
def test_a_recipe_for_a_card_leaves_a_fifth_of_its_memory_free(name: str, card_gib: int) -> None:
    recipe = recipes.load(name)
    folder = known_configuration(recipe.base)

    needed = estimate(recipe, families.get(family_of(folder)), folder, torch.device("cuda"), has_own_prior=True)

    assert needed.peak < 0.8 * card_gib * 2**30


def test_regularization_images_of_the_data_set_are_included(prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (prepared / "regularization").mkdir()
    Image.new("RGB", (128, 128), "red").save(prepared / "regularization" / "red.png")
    (prepared / "regularization" / "red.txt").write_text("a red square")
    arguments = ["--estimate", "--set", "prior.prompts=[]", "--set", "prior.batch_size=8", "--set", "previews.prompts=[]"]
    activations = []
    for dataset_option in ([], ["--dataset", str(prepared)]):
        assert prepare_dataset.main(["--dataset", str(prepared)]) == 0
        capsys.readouterr()
        assert train_lora.main([*arguments, *dataset_option]) == 0
        activations.append(re.findall(r"activations (\S+) GiB", capsys.readouterr().out)[0])
    assert float(activations[1]) > 1.5 * float(activations[0])


def test_text_encoders_count_before_the_denoiser_and_not_beside_it() -> None:
    # Given a base whose text encoder is larger than its denoiser in 4 bits
    family = families.get("z_image")
    folder, device = family.references[0], torch.device("cuda")
    recipe = recipes.load("z_image_12gb", ["quantize=nf4"])

    needed = estimate(recipe, family, folder, device)
    on_cpu = estimate(recipe.model_copy(update={"text_encoders_on_cpu": True}), family, folder, device)

    assert needed.peak == needed.encoding == 2 * 4_022_468_096
    assert on_cpu.encoding == 0
    assert on_cpu.peak == needed.weights + needed.adapter + needed.activations
