"""What a run will need is told beforehand, for SDXL too, which is not here."""

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

pytestmark = pytest.mark.slow


def _sdxl(**values: object) -> Estimate:
    """Of one image at 1024² on a GPU, with other ``values`` of the recipe."""
    return _estimated(json.dumps(values))


@cache
def _estimated(values: str) -> Estimate:
    recipe = {"base": "x", "resolution": 1024, "batch_size": 1, "precision": "bf16", "prior": {"weight": 0}, **json.loads(values)}
    sdxl = families.get("sdxl")
    return estimate(Recipe.model_validate(recipe), sdxl, sdxl.reference, torch.device("cuda"))


def test_sdxl_at_1024_needs_about_what_peers_publish() -> None:
    plain, checkpointed = _sdxl(), _sdxl(gradient_checkpointing=True)

    # SimpleTuner publishes 13.0 GiB without gradient checkpointing and 6.5 with it, at batch 1.
    assert 9 < plain.peak / 2**30 < 15
    assert 5 < checkpointed.peak / 2**30 < 7.5
    assert plain.weights == 2 * 2_567_463_684
    assert 1.2 < checkpointed.operations / plain.operations < 1.5


def test_twice_the_batch_is_twice_the_work_and_a_rank_has_its_price() -> None:
    one, two, wide = _sdxl(), _sdxl(batch_size=2), _sdxl(adapter={"rank": 128, "alpha": 128})

    assert two.operations == pytest.approx(2 * one.operations, rel=0.01)
    assert 1.8 < two.activations / one.activations < 2.05
    assert wide.adapter == 8 * one.adapter


def test_accumulated_passes_take_their_time_and_no_memory() -> None:
    one, four = _sdxl(), _sdxl(gradient_accumulation_steps=4)

    assert four.operations == 4 * one.operations
    assert four.peak == one.peak


def test_adapted_text_encoders_cost_their_weights_and_their_adapter() -> None:
    alone, with_text = _sdxl(), _sdxl(adapter={"text_encoders": True})

    # CLIP ViT-L's text tower and OpenCLIP bigG's, with its projection.
    assert with_text.weights - alone.weights == 2 * (123_060_480 + 694_659_840)
    assert with_text.adapter > alone.adapter
    assert with_text.activations > alone.activations
    assert with_text.operations > alone.operations


def test_it_is_told_before_the_base_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert train_lora.main(["--estimate", "--recipe", "sdxl_12gb"]) == 0
    printed = capsys.readouterr().out
    assert "weights 4.78 GiB" in printed
    assert "tera-operations a step" in printed
    assert list(tmp_path.iterdir()) == []
    assert train_lora.main(["--estimate", "--set", "base=models/gone"]) == 2
    assert "no base model is there" in capsys.readouterr().err


def test_the_miniatures_recipe_fits_a_laptop(miniature: Path) -> None:
    recipe = Recipe.model_validate({"base": "x", "resolution": 128, "batch_size": 8, "prior": {"weight": 0}})

    needed = estimate(recipe, families.get("sdxl"), miniature, torch.device("cpu"))

    assert needed.peak < 2**30


def test_previews_count_and_tiles_make_them_cheaper() -> None:
    none, whole, tiled = _sdxl(), _sdxl(previews={"prompts": ["x"]}), _sdxl(previews={"prompts": ["x"], "tile": 512})

    assert none.previews == 0
    # The autoencoder's last blocks alone have a few layers of 1024 × 1024 × 256 numbers of four bytes.
    assert 2 * 2**30 < whole.previews - tiled.previews < 3 * 2**30


@pytest.mark.parametrize(("name", "card"), [("sdxl_8gb", 8), ("sdxl_12gb", 12)])
def test_a_recipe_named_after_a_card_fits_it_with_a_fifth_to_spare(name: str, card: int) -> None:
    sdxl = families.get("sdxl")

    needed = estimate(recipes.load(name), sdxl, sdxl.reference, torch.device("cuda"), has_own_prior=True)

    assert needed.peak < 0.8 * card * 2**30


def test_regularization_images_of_the_data_set_are_reckoned_with(prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (prepared / "regularization").mkdir()
    Image.new("RGB", (128, 128), "red").save(prepared / "regularization" / "red.png")
    (prepared / "regularization" / "red.txt").write_text("a red square")
    arguments = ["--estimate", "--set", "prior.prompts=[]", "--set", "prior.batch_size=8", "--set", "previews.prompts=[]"]
    found = []
    for more in ([], ["--dataset", str(prepared)]):
        assert prepare_dataset.main(["--dataset", str(prepared)]) == 0
        capsys.readouterr()
        assert train_lora.main([*arguments, *more]) == 0
        found.append(re.findall(r"activations (\S+) GiB", capsys.readouterr().out)[0])
    assert float(found[1]) > 1.5 * float(found[0])
