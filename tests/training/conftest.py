"""A prepared data set, the miniature as its base, and the arguments of a run of a few steps."""

import shutil
from pathlib import Path

import pytest
import torch

from miniature import concept
from tests.conftest import MINIATURE
from training import prepare_dataset, train_lora
from training import recipe as recipes
from training.data.dataset import read_dataset
from training.encoding.cache import Cache
from training.encoding.encoded_examples import Encoders, Examples
from training.model.adapted_model import AdaptedModel, load, place_denoiser
from training.recipe import Recipe
from training.validation.records import Interval, Stratum, Validation
from zthumb import families
from zthumb.sources.bases import find_base
from zthumb.sources.local import family_of

QUICK = ["steps=6", "batch_size=2", "prior.images=4", "prior.batch_size=2", "prior.steps=2", "checkpoint_every=2"]
QUICK += ["validation.choose=lowest", "validation.strata=1", "validation.noises=1", "previews.prompts=[]"]
QUICK += ["adapter.targets=attention", "adapter.rank=8", "adapter.alpha=8"]


@pytest.fixture(scope="session")
def prepared_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a prepared data set that no test may change."""
    folder = tmp_path_factory.mktemp("prepared")
    concept.write("letter-z", "zbadge", folder / "badges")
    (folder / "models").mkdir()
    (folder / "models" / "mini-sdxl").symlink_to(MINIATURE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert prepare_dataset.main(["--dataset", "badges"]) == 0
    return folder / "badges"


@pytest.fixture(scope="session")
def encoded_once(prepared_once: Path) -> Path:
    """Return the cache of a run on the prepared data set, which no test may change."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(prepared_once.parent)
        assert train_lora.main(quick_arguments(Path("badges"), "any", "steps=1")) == 0
    return prepared_once.parent / "outputs" / "cache"


@pytest.fixture
def unencoded(prepared_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, miniature: Path) -> Path:
    """Return a copy of the prepared data set in the test's folder, with the miniatures at their usual paths and no cache."""
    (tmp_path / "models").mkdir()
    for name in ("mini-sdxl", "mini-sd15"):
        (tmp_path / "models" / name).symlink_to(miniature.parent / name)
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(prepared_once, tmp_path / "badges"))


@pytest.fixture
def prepared(unencoded: Path, encoded_once: Path, tmp_path: Path) -> Path:
    """Return a copy of the prepared data set in the test's folder, whose images and captions are in the cache already."""
    shutil.copytree(encoded_once, tmp_path / "outputs" / "cache")
    return unencoded


def quick_arguments(dataset: Path, run: str, *sets: str) -> list[str]:
    """Return the command-line arguments of a training run of 6 steps."""
    settings = [part for value in (*QUICK, *sets) for part in ("--set", value)]
    return ["--dataset", str(dataset), "--run", run, *settings]


def validation(step: int, loss: float) -> Validation:
    """Return a validation with this ``loss``, half the base's at every timestep."""
    interval = Interval(mean=loss, low=loss - 0.1, high=loss + 0.1)
    change = Interval(mean=-loss, low=-loss - 0.1, high=-loss + 0.1)
    strata = tuple(Stratum(timestep=timestep, loss=interval, change=change) for timestep in (250, 750))
    return Validation(step=step, images=2, loss=interval, change=change, gap=0.01, strata=strata)


def prepared_base(dataset: Path, *sets: str) -> tuple[Recipe, AdaptedModel, Examples, Examples]:
    """Return the quick recipe, the miniature with an adapter attached, and the encoded training and held-out images."""
    recipe = recipes.load("mini", [*QUICK, "validation.strata=4", "validation.noises=1", *sets])
    base, device = find_base(recipe.base), torch.device("cpu")
    family = families.get(family_of(base))
    pipeline = load(recipe, family, base)
    prepared = read_dataset(dataset)
    learned_tokens = {prepared.trigger: recipe.adapter.tokens} if recipe.adapter.tokens else {}
    encoders = Encoders(family, pipeline, base, Cache(Path("outputs/cache"), 2**30), device, learned_tokens)
    examples = encoders.encode(prepared.of("train"), dataset), encoders.encode(prepared.of("holdout"), dataset)
    swap = place_denoiser(pipeline, recipe, family, device)
    return recipe, AdaptedModel.of(pipeline, family, recipe, device, prepared.trigger, swap), *examples
