from pathlib import Path

import pytest

from foundation.errors import BadInput
from training import recipe as recipes
from training import train_lora


def test_every_shipped_recipe_loads() -> None:
    assert "mini" in recipes.names()
    for name in recipes.names():
        recipes.load(name)


def test_a_recipe_may_extend_another_and_override_single_values(tmp_path: Path) -> None:
    (tmp_path / "quick.yaml").write_text("extends: mini\nsteps: 7\noptimizer: {lr: 0.5}\n")
    quick, mini = recipes.load(str(tmp_path / "quick.yaml")), recipes.load("mini")
    assert (quick.steps, quick.optimizer.lr) == (7, 0.5)
    assert quick.optimizer.warm_up == mini.optimizer.warm_up
    assert quick.prior == mini.prior


def test_values_are_overridden_on_the_command_line() -> None:
    recipe = recipes.load("mini", ["optimizer.lr=2e-4", "steps=9", "adapter.targets=attention+feed-forward"])
    assert (recipe.optimizer.lr, recipe.steps, recipe.adapter.targets) == (2e-4, 9, "attention+feed-forward")


@pytest.mark.parametrize(
    ("override", "is_another_lesson"),
    [
        ("checkpoint_every=7", False),
        ("keep_checkpoints=9", False),
        ("validation.choose=lowest", False),
        ("validation.patience=2", False),
        ("trackers=[tensorboard]", False),
        ("deterministic=true", False),
        ("validation.noises=9", True),
        ("optimizer.lr=1e-5", True),
        ("steps=7", True),
    ],
)
def test_a_checkpoint_outlives_a_change_of_what_is_not_learned(override: str, is_another_lesson: bool) -> None:
    assert (recipes.load("mini", [override]).lessons(1) != recipes.load("mini").lessons(1)) == is_another_lesson


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizr.lr=1", "unknown key 'optimizr'. Did you mean 'optimizer'"),
        ("optimizer.lrr=1", "unknown key 'optimizer.lrr'. Did you mean 'lr'"),
        ("steps", "write it as key=value"),
        ("steps.more=1", "'steps' is a value"),
        ("steps=-3", "steps: "),
    ],
)
def test_a_bad_override_says_what_is_wrong(override: str, message: str) -> None:
    with pytest.raises(BadInput) as error:
        recipes.load("mini", [override])
    assert message in str(error.value)


def test_a_misspelt_recipe_names_the_nearest_one() -> None:
    with pytest.raises(BadInput, match="Did you mean 'mini'"):
        recipes.load("mni")


def test_a_recipe_that_extends_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("extends: b.yaml\n")
    (tmp_path / "b.yaml").write_text("extends: a.yaml\n")
    with pytest.raises(BadInput, match="extends itself"):
        recipes.load(str(tmp_path / "a.yaml"))


@pytest.mark.slow
@pytest.mark.parametrize("name", recipes.names())
def test_every_shipped_recipe_trains(prepared: Path, name: str) -> None:
    small = ["base=models/mini-sdxl", "resolution=128", "precision=fp32", "steps=2", "checkpoint_every=2", "previews.steps=1"]
    small += ["prior.images=2", "prior.steps=2", "validation.noises=1", "compile=false"]
    arguments = [part for value in small for part in ("--set", value)]

    assert train_lora.main(["--dataset", str(prepared), "--run", name, "--recipe", name, *arguments]) == 0

    run = Path("outputs/lora") / name
    assert (run / "chosen.json").exists()
    assert bool(recipes.load(name).previews.prompts) == (run / "previews" / "sheet.png").exists()
