from pathlib import Path

import pytest

from foundation.errors import BadInput
from training import recipe as recipes
from training import train_lora
from training.other_names import KEYS


def test_every_shipped_recipe_loads() -> None:
    assert "mini" in recipes.names()
    for name in recipes.names():
        recipes.load(name)


def test_a_recipe_can_extend_another_and_override_single_values(tmp_path: Path) -> None:
    (tmp_path / "quick.yaml").write_text("extends: mini\nsteps: 7\noptimizer: {lr: 0.5}\n")
    quick, mini = recipes.load(str(tmp_path / "quick.yaml")), recipes.load("mini")
    assert (quick.steps, quick.optimizer.lr) == (7, 0.5)
    assert quick.optimizer.warmup_steps == mini.optimizer.warmup_steps
    assert quick.prior == mini.prior


def test_values_are_overridden_on_the_command_line() -> None:
    recipe = recipes.load("mini", ["optimizer.lr=2e-4", "steps=9", "adapter.targets=attention+feed-forward"])
    assert (recipe.optimizer.lr, recipe.steps, recipe.adapter.targets) == (2e-4, 9, "attention+feed-forward")


@pytest.mark.parametrize(
    ("override", "starts_over"),
    [
        ("checkpoint_every=7", False),
        ("keep_checkpoints=9", False),
        ("validation.choose=lowest", False),
        ("validation.patience=2", False),
        ("trackers=[tensorboard]", False),
        ("deterministic=true", False),
        ("validation.noises=9", True),
        ("optimizer.lr=1e-5", True),
        ("steps=7", True),  # the cosine schedule depends on it
    ],
)
def test_a_run_resumes_unless_a_setting_that_changes_the_weights_has_changed(override: str, starts_over: bool) -> None:
    assert (recipes.load("mini", [override]).resume_key(1) != recipes.load("mini").resume_key(1)) == starts_over


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizr.lr=1", "unknown key 'optimizr'. Did you mean 'optimizer'"),
        ("optimizer.lrr=1", "unknown key 'optimizer.lrr'. Did you mean 'lr'"),
        ("steps", "write it as key=value"),
        ("steps.more=1", "'steps' is a value"),
        ("steps=-3", "steps: "),
        # The wrong option is named, and for another trainer's key the recipe's key is suggested.
        ("optimizer.lrr=1", "--set optimizer.lrr=1: "),
        ("adapter.alpha=0", "--set adapter.alpha=0: adapter.alpha: "),
        (
            "optimizer.learning_rate=1e-4",
            "--set optimizer.learning_rate=1e-4: unknown key 'optimizer.learning_rate'. Did you mean 'optimizer.lr'",
        ),
        ("adapter.dim=8", "Did you mean 'adapter.rank'"),
        ("network_dim=8", "Did you mean 'adapter.rank'"),
        ("train_batch_size=2", "Did you mean 'batch_size'"),
    ],
)
def test_a_bad_override_says_what_is_wrong(override: str, message: str) -> None:
    with pytest.raises(BadInput) as error:
        recipes.load("mini", [override])
    assert message in str(error.value)


def test_the_error_for_a_misspelt_recipe_suggests_the_nearest_one() -> None:
    with pytest.raises(BadInput, match="Did you mean 'mini'"):
        recipes.load("mni")


def test_a_recipe_that_extends_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("extends: b.yaml\n")
    (tmp_path / "b.yaml").write_text("extends: a.yaml\n")
    with pytest.raises(BadInput, match="extends itself"):
        recipes.load(str(tmp_path / "a.yaml"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mini_sd15", "sdxl_8gb", "sdxl_24gb", "sdxl_style", "sd15_2gb", "sd21"])
def test_a_shipped_recipe_of_each_kind_trains(prepared: Path, name: str) -> None:
    miniature = "mini-sdxl" if name.startswith("sdxl") else "mini-sd15"
    small = [f"base=models/{miniature}", "resolution=128", "precision=fp32", "steps=2", "checkpoint_every=2", "previews.steps=1"]
    small += ["prior.images=2", "prior.steps=2", "validation.strata=1", "validation.noises=1", "compile=false"]
    arguments = [part for value in small for part in ("--set", value)]

    assert train_lora.main(["--dataset", str(prepared), "--run", name, "--recipe", name, *arguments]) == 0

    run = Path("outputs/lora") / name
    assert (run / "chosen.json").exists()
    assert bool(recipes.load(name).previews.prompts) == (run / "previews" / "sheet.png").exists()


def test_a_run_with_a_constant_schedule_resumes_with_more_steps() -> None:
    constant = ["optimizer.schedule=constant"]

    assert recipes.load("mini", [*constant, "steps=7"]).resume_key(1) == recipes.load("mini", constant).resume_key(1)


def test_epochs_are_converted_to_steps() -> None:
    recipe = recipes.load("mini", ["epochs=3"]).with_epochs_as_steps(steps_per_epoch=5)

    assert (recipe.steps, recipe.epochs) == (15, None)
    assert recipe.resume_key(1) == recipes.load("mini", ["steps=15"]).resume_key(1)


def test_steps_and_epochs_together_are_refused_and_an_override_replaces_the_parents_length(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="steps and epochs both set the length"):
        recipes.load("mini", ["steps=5", "epochs=3"])
    (tmp_path / "mine.yaml").write_text("extends: mini\nepochs: 3\n")

    assert recipes.load(str(tmp_path / "mine.yaml")).epochs == 3
    longer = recipes.load(str(tmp_path / "mine.yaml"), ["steps=7"])
    assert (longer.steps, longer.epochs) == (7, None)


def test_every_key_of_another_trainer_maps_to_an_existing_recipe_key() -> None:
    values = recipes.load("mini").model_dump(by_alias=True)

    for key in KEYS.values():
        section = values
        for part in key.split("."):
            assert part in section, key
            section = section[part]
