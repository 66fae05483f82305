"""A base of flow matching is trained, goes on after a kill, and is exported as any other; what it has no use for is refused."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from foundation.errors import BadInput
from tests.training.conftest import quick_arguments
from tests.zthumb.families import random_miniatures
from training import export_lora, prepare_dataset, train_lora
from training import recipe as recipes
from training.data.dataset import read_dataset
from training.family_check import check_family
from training.steps import checkpoints
from zthumb import families
from zthumb.adapters import module_shapes, reader
from zthumb.sources import catalogue


@dataclass(frozen=True)
class Case:
    """What writes a family's miniature with random weights, and settings to train on it: the shift of its times, and others."""

    write: Callable[[Path, Path], None]
    shift: str
    sets: Sequence[str] = ()
    has_masks: bool = False


CASES = {
    "flux": Case(random_miniatures.write_flux, "resolution", has_masks=True),
    "flux2": Case(random_miniatures.write_flux2, "resolution", ("quantize=nf4",), has_masks=True),
    "flux2_dev": Case(random_miniatures.write_flux2_dev, "resolution", ("quantize=int8", "objective.guidance_scale=1.0")),
    "qwen_image": Case(random_miniatures.write_qwen_image, "2.2", ("precision=bf16", "gradient_checkpointing=true")),
    "z_image": Case(random_miniatures.write_z_image, "3.0", ("objective.timesteps=logit_normal",)),
}

RUN = Path("outputs/lora/a")


def _add_masks(dataset: Path) -> None:
    """Give every image a mask of its middle."""
    for image in (dataset / "raw").glob("*.png"):
        with Image.open(image) as opened:
            width, height = opened.size
        mask = Image.new("L", (width, height), "black")
        mask.paste(255, (width // 4, height // 4, 3 * width // 4, 3 * height // 4))
        (dataset / "masks").mkdir(exist_ok=True)
        mask.save(dataset / "masks" / image.name)
    assert prepare_dataset.main(["--dataset", str(dataset)]) == 0
    assert read_dataset(dataset).counts()["masked"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_run_goes_on_as_if_it_had_never_stopped_and_is_exported_in_both_layouts(prepared: Path, name: str) -> None:
    # Given a run of four steps on a miniature, and the same run that was killed after two
    case = CASES[name]
    case.write(Path("models/mini-sdxl"), Path("models/mini-base"))
    if case.has_masks:
        _add_masks(prepared)
    sets = ("base=models/mini-base", "objective.min_snr_gamma=null", f"objective.timestep_shift={case.shift}", *case.sets)
    arguments = quick_arguments(prepared, "a", *sets, "steps=4", "adapter.targets=attention+feed-forward")
    assert train_lora.main(arguments) == 0
    whole = (RUN / "checkpoints" / "step-000004" / "adapter.safetensors").read_bytes()
    assert checkpoints.read_checkpoints(RUN / "checkpoints")[0].step == 2
    shutil.rmtree(RUN / "checkpoints" / "step-000004")
    (RUN / "manifest.json").unlink()

    assert train_lora.main(arguments) == 0

    assert (RUN / "checkpoints" / "step-000004" / "adapter.safetensors").read_bytes() == whole
    losses = [json.loads(line)["loss"] for line in (RUN / "metrics.jsonl").read_text().splitlines()]
    assert len(losses) == 4

    # Then both layouts have the same change, kohya's under the names of fused projections
    assert export_lora.main(["--dataset", str(prepared), "--run", "a"]) == 0
    base = module_shapes.of_folder("mini-base", Path("models/mini-base"), families.get(name))
    folder = Path("models/lora/a")
    kohya, diffusers = (reader.load(folder / name, base) for name in ("a.safetensors", "pytorch_lora_weights.safetensors"))
    assert kohya.layers.keys() == diffusers.layers.keys()
    for path, layer in diffusers.layers.items():
        difference = (kohya.layers[path].change() - layer.change()).abs().max()
        assert float(difference) <= 2e-3 * float(layer.change().abs().max()) + 1e-8, path


@pytest.mark.parametrize(
    ("family", "sets", "message"),
    [
        ("flux", ["resolution=136"], "resolution: 136 is not a multiple of 16, which flux needs; take 128"),
        ("flux", ["adapter.targets=attention+feed-forward+convolution"], "take attention or attention.feed-forward"),
        ("flux", ["adapter.text_encoders=true"], "adapter.text_encoders: those of flux are not trained"),
        ("flux", ["adapter.tokens=2"], "adapter.tokens: learned tokens are for CLIP text encoders"),
        ("flux", ["objective.min_snr_gamma=5"], "objective.min_snr_gamma: flux is trained by flow matching"),
        ("flux", ["objective.prediction=epsilon"], "objective.prediction: flux predicts the velocity"),
        ("flux", ["text_encoders_on_cpu=true", "previews.prompts=['x']"], "previews.prompts are encoded on the device"),
        ("sdxl", ["text_encoders_on_cpu=true", "adapter.text_encoders=true"], "they are trained on the device"),
        ("z_image", ["training_adapter=a", "previews.prompts=['x']"], "training_adapter: previews.prompts would show the base"),
        ("sdxl", ["objective.timestep_shift=resolution"], "objective.timestep_shift: is for flow matching"),
        ("sdxl", ["objective.guidance_scale=3.5"], "objective.guidance_scale: sdxl is told no guidance scale"),
    ],
)
def test_what_a_family_has_no_use_for_is_refused(family: str, sets: list[str], message: str) -> None:
    recipe = recipes.load(family, sets)

    with pytest.raises(BadInput, match=message):
        check_family(recipe, families.get(family))


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_asks_of_its_base_what_that_can_do(name: str) -> None:
    recipe = recipes.load(name)
    check_family(recipe, families.get(catalogue.family_of(recipe.base) or ""))
