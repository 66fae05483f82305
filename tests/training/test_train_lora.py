"""Training, driven as a user would, on the miniature."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from foundation.hashing import hash_file
from tests.training.conftest import quick_arguments
from training import checkpoints, train_lora
from training import recipe as recipes

pytestmark = pytest.mark.slow


def _adapter(run: str, step: int = 6) -> str:
    return hash_file(Path(f"outputs/lora/{run}/checkpoints/step-{step:06d}/adapter.safetensors"))


def test_a_run_leaves_checkpoints_metrics_its_recipe_and_a_manifest(prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train_lora.main(quick_arguments(prepared, "a")) == 0
    run = Path("outputs/lora/a")
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["step-000004", "step-000006"]
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert all(line["loss"] > 0 for line in lines)
    assert lines[0]["prior"] < 1e-9  # the adapter starts as the base, to rounding
    assert lines[-1]["prior"] > 0
    assert json.loads((run / "manifest.json").read_text())["seed"] == 0
    assert recipes.load(str(run / "recipe.yaml")).steps == 6
    capsys.readouterr()
    assert train_lora.main(quick_arguments(prepared, "a")) == 0
    assert "up to date" in capsys.readouterr().out


def test_the_same_recipe_and_pictures_make_the_same_adapter(prepared: Path) -> None:
    train_lora.main(quick_arguments(prepared, "a"))
    train_lora.main(quick_arguments(prepared, "b"))
    assert _adapter("a") == _adapter("b")
    train_lora.main(quick_arguments(prepared, "c", "seed=1"))
    assert _adapter("a") != _adapter("c")


def test_a_run_killed_in_the_middle_goes_on_from_its_checkpoint_and_ends_with_the_same_bytes(prepared: Path) -> None:
    train_lora.main(quick_arguments(prepared, "whole"))
    arguments = quick_arguments(prepared, "killed")
    process = subprocess.Popen([sys.executable, "-m", "training.train_lora", *arguments], stderr=subprocess.DEVNULL)
    _wait_for_a_checkpoint(Path("outputs/lora/killed/checkpoints"))
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    done = checkpoints.found(Path("outputs/lora/killed/checkpoints"))[-1]
    assert 0 < done.step < 6
    shutil.copytree("outputs/lora/killed", "outputs/lora/tampered")
    _zero(checkpoints.found(Path("outputs/lora/tampered/checkpoints"))[-1].adapter_file)

    assert train_lora.main(arguments) == 0
    assert _adapter("killed") == _adapter("whole")
    metrics = [Path(f"outputs/lora/{run}/metrics.jsonl").read_text() for run in ("whole", "killed")]
    assert metrics[0] == metrics[1]
    # Were the checkpoint not read, this run would end like the others.
    assert train_lora.main(quick_arguments(prepared, "tampered")) == 0
    assert _adapter("tampered") != _adapter("whole")


def _wait_for_a_checkpoint(folder: Path) -> None:
    for _ in range(4000):
        if checkpoints.found(folder):
            return
        time.sleep(0.02)
    raise AssertionError("no checkpoint was written")


def _zero(file: Path) -> None:
    save_file({name: weight * 0 for name, weight in load_file(file).items()}, file)


@pytest.mark.parametrize(
    ("sets", "code", "named"),
    [
        (["base=models/gone"], 2, "models/gone: no base model is there"),
        (["optimizer.rate=1"], 2, "unknown key 'optimizer.rate'"),
        (["optimizer.lr=1e30", "prior.weight=0"], 1, "not finite"),
    ],
)
def test_what_goes_wrong_is_named(
    prepared: Path, capsys: pytest.CaptureFixture[str], sets: list[str], code: int, named: str
) -> None:
    assert train_lora.main(quick_arguments(prepared, "bad", *sets)) == code
    assert named in capsys.readouterr().err
    assert not Path("outputs/lora/bad/manifest.json").exists()


def test_a_changed_recipe_starts_over_and_leaves_nothing_of_the_old_one(prepared: Path) -> None:
    train_lora.main(quick_arguments(prepared, "a"))
    assert train_lora.main(quick_arguments(prepared, "a", "steps=4")) == 0
    assert [path.name for path in sorted(Path("outputs/lora/a/checkpoints").iterdir())] == ["step-000002", "step-000004"]
    assert len(Path("outputs/lora/a/metrics.jsonl").read_text().splitlines()) == 4


def test_a_data_set_prepared_for_another_resolution_is_refused(prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train_lora.main(quick_arguments(prepared, "bad", "resolution=256")) == 2
    assert "prepared at 128 px, but the recipe trains at 256" in capsys.readouterr().err


def test_an_unprepared_data_set_says_what_to_do(prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (prepared / "dataset.json").unlink()
    assert train_lora.main(quick_arguments(prepared, "bad")) == 2
    assert "prepare_dataset" in capsys.readouterr().err
