"""A prepared data set beside the miniature, and the arguments of a run of a few steps."""

import shutil
from pathlib import Path

import pytest
import torch

from miniature import concept
from tests.conftest import MINIATURE
from training import prepare_dataset
from training import recipe as recipes
from training.data.dataset import read_dataset
from training.encoding.cache import Cache
from training.encoding.examples import Encoders, Examples
from training.model.adapted_model import AdaptedModel, load
from training.recipe import Recipe
from training.validation.validation import Interval, Stratum, Validation
from zthumb import families
from zthumb.sources.bases import find_base

QUICK = ["steps=6", "batch_size=2", "prior.images=4", "prior.batch_size=2", "prior.steps=2", "checkpoint_every=2"]
QUICK += ["validation.choose=lowest", "validation.strata=2", "validation.noises=1", "previews.prompts=[]"]


@pytest.fixture(scope="session")
def prepared_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared data set that no test may change."""
    folder = tmp_path_factory.mktemp("prepared")
    concept.write("letter-z", "zbadge", folder / "badges")
    (folder / "models").mkdir()
    (folder / "models" / "mini-sdxl").symlink_to(MINIATURE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert prepare_dataset.main(["--dataset", "badges"]) == 0
    return folder / "badges"


@pytest.fixture
def prepared(prepared_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, miniature: Path) -> Path:
    """A prepared data set in a folder of its own, with the miniature at its usual place."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mini-sdxl").symlink_to(miniature)
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(prepared_once, tmp_path / "badges"))


def quick_arguments(dataset: Path, run: str, *sets: str) -> list[str]:
    settings = [part for value in (*QUICK, *sets) for part in ("--set", value)]
    return ["--dataset", str(dataset), "--run", run, *settings]


def validation(step: int, loss: float) -> Validation:
    """A look that found ``loss``, half the base's at every timestep."""
    found, change = Interval(mean=loss, low=loss - 0.1, high=loss + 0.1), Interval(mean=-loss, low=-loss - 0.1, high=-loss + 0.1)
    strata = tuple(Stratum(timestep=timestep, loss=found, change=change) for timestep in (250, 750))
    return Validation(step=step, images=2, loss=found, change=change, gap=0.01, strata=strata)


def prepared_base(dataset: Path, *sets: str) -> tuple[Recipe, AdaptedModel, Examples, Examples]:
    """The quick recipe, the miniature with an adapter on it, and the trained and held-out images, encoded."""
    recipe = recipes.load("mini", [*QUICK, "validation.strata=4", "validation.noises=1", *sets])
    found, family, device = find_base(recipe.base), families.get("sdxl"), torch.device("cpu")
    pipeline = load(recipe, family, found, device)
    entries = read_dataset(dataset)
    words = {entries.trigger: recipe.adapter.tokens} if recipe.adapter.tokens else {}
    encoders = Encoders(family, pipeline, found, Cache(Path("outputs/cache"), 2**30), device, words)
    examples = encoders.encode(entries.of("train"), dataset), encoders.encode(entries.of("holdout"), dataset)
    return recipe, AdaptedModel.of(pipeline, family, recipe, device, entries.trigger), *examples
