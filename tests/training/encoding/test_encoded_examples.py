"""Images and captions are encoded once, and again exactly when something they depend on has changed."""

from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.training.conftest import quick_arguments
from training import prepare_dataset, train_lora
from training.data.dataset import read_dataset

pytestmark = pytest.mark.slow


def _entries() -> dict[str, int]:
    cache = Path("outputs/cache")
    return {kind.name: len(list(kind.rglob("*.safetensors"))) for kind in sorted(cache.iterdir())}


def _adapter(run: str) -> bytes:
    return (Path("outputs/lora") / run / "checkpoints" / "step-000006" / "adapter.safetensors").read_bytes()


def test_a_second_run_finds_everything_and_ends_with_the_same_bytes(unencoded: Path) -> None:
    assert train_lora.main(quick_arguments(unencoded, "cold")) == 0
    made = _entries()
    assert made["images"] == 20

    assert train_lora.main(quick_arguments(unencoded, "warm")) == 0

    assert _entries() == made
    assert _adapter("warm") == _adapter("cold")


def test_a_changed_caption_is_one_new_entry_and_another_adapter(unencoded: Path) -> None:
    every_image = "batch_size=6"
    train_lora.main(quick_arguments(unencoded, "before", every_image))
    made = _entries()
    changed = unencoded / read_dataset(unencoded).of("train")[0].source
    changed.with_suffix(".txt").write_text("a zbadge in a caption of its own")
    prepare_dataset.main(["--dataset", str(unencoded)])

    train_lora.main(quick_arguments(unencoded, "after", every_image))

    assert _entries() == {**made, "conditioning": made["conditioning"] + 1}
    assert _adapter("after") != _adapter("before")


def test_other_prior_prompts_are_generated_anew(unencoded: Path) -> None:
    train_lora.main(quick_arguments(unencoded, "before"))
    made = _entries()

    train_lora.main(quick_arguments(unencoded, "after", "prior.guidance_scale=2"))

    assert _entries() == {**made, "prior": made["prior"] + 1}


def test_the_prior_is_generated_by_what_the_recipe_says_the_base_predicts(unencoded: Path) -> None:
    for name, prediction in (("noise", "epsilon"), ("velocity", "v_prediction")):
        train_lora.main(quick_arguments(unencoded, name, "steps=1", f"objective.prediction={prediction}"))

    noise, velocity = (load_file(path)["latents"] for path in Path("outputs/cache/prior").rglob("*.safetensors"))
    assert (noise - velocity).abs().mean() > 0.1
