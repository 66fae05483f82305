"""Training the miniature through the command line, as a user does."""

import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from foundation.hashing import hash_file
from foundation.manifest import Stage
from tests.training.conftest import quick_arguments
from tests.zthumb.published import write_single_file
from training import prepare_dataset, train_lora
from training import recipe as recipes
from training.data.dataset import read_dataset
from training.steps import checkpoints
from training.steps.checkpoints import Checkpoint
from training.steps.run import Run

pytestmark = pytest.mark.slow

LONGER = ("steps=16", "checkpoint_every=4", "prior.weight=0", "validation.noises=1")


def _adapter(run: str, step: int = 6) -> str:
    return hash_file(Path(f"outputs/lora/{run}/checkpoints/step-{step:06d}/adapter.safetensors"))


def test_a_run_leaves_checkpoints_metrics_its_recipe_and_a_manifest(prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train_lora.main(quick_arguments(prepared, "a")) == 0
    run = Path("outputs/lora/a")
    assert {path.name for path in (run / "checkpoints").iterdir()} >= {"step-000004", "step-000006"}
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert all(line["loss"] > 0 for line in lines)
    assert lines[0]["prior"] < 1e-9  # the adapter changes nothing at first, up to rounding
    assert lines[-1]["prior"] > 0
    assert json.loads((run / "manifest.json").read_text())["seed"] == 0
    assert recipes.load(str(run / "recipe.yaml")).steps == 6
    validations = Run(run).validations()
    assert [validation.step for validation in validations] == [0, 2, 4, 6]
    assert validations[0].change.mean == 0
    assert Run(run).chosen().step == min(validations[1:], key=lambda validation: validation.loss.mean).step
    with Image.open(run / "curves.png") as curves:
        assert curves.width > 1000
    capsys.readouterr()
    assert train_lora.main(quick_arguments(prepared, "a")) == 0
    assert "up to date" in capsys.readouterr().out


def test_the_same_recipe_and_images_give_the_same_adapter(prepared: Path) -> None:
    train_lora.main(quick_arguments(prepared, "a"))
    train_lora.main(quick_arguments(prepared, "b"))
    assert _adapter("a") == _adapter("b")
    train_lora.main(quick_arguments(prepared, "c", "seed=1"))
    assert _adapter("a") != _adapter("c")


def test_a_base_in_a_single_file_gives_the_same_adapter(prepared: Path) -> None:
    short = ("steps=2", "prior.weight=0", "validation.noises=1")
    write_single_file(Path("models/mini-sdxl"), Path("models/mini.safetensors"))
    train_lora.main(quick_arguments(prepared, "a", *short))
    assert train_lora.main(quick_arguments(prepared, "b", "base=models/mini.safetensors", *short)) == 0
    assert _adapter("a", 2) == _adapter("b", 2)


def test_a_run_killed_again_and_again_ends_with_the_same_bytes(prepared: Path) -> None:
    train_lora.main(quick_arguments(prepared, "uninterrupted", *LONGER))
    arguments, rng, reached = quick_arguments(prepared, "killed", *LONGER), random.Random(0), 0
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-m", "training.train_lora", *arguments], stderr=subprocess.DEVNULL)
        reached = _wait_for_step(Path("outputs/lora/killed"), rng.randint(reached + 2, reached + 4))
        time.sleep(rng.random() * 0.2)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    shutil.copytree("outputs/lora/killed", "outputs/lora/tampered")

    assert train_lora.main(arguments) == 0

    for name in ("metrics.jsonl", "validation.jsonl", "chosen.json", "curves.png"):
        assert hash_file(Path("outputs/lora/killed") / name) == hash_file(Path("outputs/lora/uninterrupted") / name), name
    assert _adapter("killed", 16) == _adapter("uninterrupted", 16)
    # If the checkpoint were not read, this run would give the same adapter as the others.
    _zero(checkpoints.read_checkpoints(Path("outputs/lora/tampered/checkpoints"))[-1])
    assert train_lora.main(quick_arguments(prepared, "tampered", *LONGER)) == 0
    assert _adapter("tampered", 16) != _adapter("uninterrupted", 16)


def test_a_run_stopped_twice_saves_its_last_step_each_time_and_resumes_from_there(prepared: Path) -> None:
    train_lora.main(quick_arguments(prepared, "uninterrupted", *LONGER))
    arguments = quick_arguments(prepared, "stopped", *LONGER)
    for stop_signal, reached in ((signal.SIGTERM, 3), (signal.SIGINT, 8)):
        process = subprocess.Popen([sys.executable, "-m", "training.train_lora", *arguments], stderr=subprocess.PIPE, text=True)
        _wait_for_step(Path("outputs/lora/stopped"), reached)
        process.send_signal(stop_signal)
        printed = process.communicate()[1]

        assert process.returncode == 130
        assert "Traceback" not in printed
        step = int(re.findall(r"stopped after step (\d+)", printed)[0])
        assert checkpoints.read_checkpoints(Path("outputs/lora/stopped/checkpoints"))[-1].step == step
    assert train_lora.main(arguments) == 0
    assert _adapter("stopped", 16) == _adapter("uninterrupted", 16)


@pytest.mark.parametrize("damaged", ["training.pt", "state.json"])
def test_a_damaged_checkpoint_is_skipped_and_the_one_before_is_used(prepared: Path, damaged: str) -> None:
    train_lora.main(quick_arguments(prepared, "a"))
    adapter = _adapter("a")
    Path("outputs/lora/a/manifest.json").unlink()
    last = checkpoints.read_checkpoints(Path("outputs/lora/a/checkpoints"))[-1]
    (last.folder / damaged).write_bytes(b"half")

    assert train_lora.main(quick_arguments(prepared, "a")) == 0

    assert _adapter("a") == adapter


@pytest.mark.parametrize(
    ("file_limit", "message"), [(200_000, "the checkpoint of step 4 cannot be written"), (100, "cannot be written")]
)
def test_a_full_disk_leaves_the_previous_checkpoint_and_is_reported(prepared: Path, file_limit: int, message: str) -> None:
    arguments = quick_arguments(prepared, "a", "keep_checkpoints=9")
    train_lora.main(arguments)
    adapter, run = _adapter("a"), Path("outputs/lora/a")
    for later in ("step-000004", "step-000006"):
        shutil.rmtree(run / "checkpoints" / later)
    (run / "manifest.json").unlink()

    # The operating system refuses files that grow beyond this limit, as it does on a full disk.
    limited = subprocess.run(
        [sys.executable, "-m", "training.train_lora", *arguments],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit)),
    )

    assert limited.returncode == 1, limited.stderr
    assert message in limited.stderr.splitlines()[-1]
    assert "Traceback" not in limited.stderr
    valid = [checkpoint.step for checkpoint in checkpoints.read_checkpoints(run / "checkpoints") if checkpoint.is_valid]
    assert valid == [2]
    assert train_lora.main(arguments) == 0
    assert _adapter("a") == adapter


def test_the_error_for_out_of_memory_suggests_settings_that_would_fit(prepared: Path) -> None:
    limited = subprocess.run(
        [sys.executable, "-m", "training.train_lora", *quick_arguments(prepared, "a", "batch_size=320", "prior.weight=0")],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (9 * 2**29, 9 * 2**29)),
    )
    assert limited.returncode == 1, limited.stderr
    message = limited.stderr.splitlines()[-1]
    assert "out of memory: 4.5 GiB are available, an estimated" in message
    assert "With --set gradient_checkpointing=true about" in message
    assert "the run resumes from its last checkpoint" in message
    assert "Traceback" not in limited.stderr


@pytest.mark.parametrize(
    ("text_encoders", "tokens", "shard"), [("true", "2", "false"), ("false", "0", "true")], ids=["text encoders", "shard"]
)
def test_two_processes_give_the_losses_of_one_process_with_twice_the_batch(
    prepared: Path, text_encoders: str, tokens: str, shard: str
) -> None:
    settings = (
        f"adapter.text_encoders={text_encoders}",
        f"adapter.tokens={tokens}",
        'previews.prompts=["a {trigger}"]',
        "previews.steps=2",
        "steps=9",
        "checkpoint_every=9",
    )
    # Two image sizes, an odd number of images each: once per epoch, one process has a size of its own and one more pass.
    for path in sorted((prepared / "raw").glob("*.png"))[:7]:
        with Image.open(path) as image:
            image.crop((0, 0, image.width, image.height * 2 // 3)).save(path)
    assert prepare_dataset.main(["--dataset", str(prepared)]) == 0
    sizes = Counter(entry.size for entry in read_dataset(prepared).of("train"))
    assert len(sizes) == 2
    assert all(count % 2 for count in sizes.values())
    train_lora.main(quick_arguments(prepared, "one", "batch_size=2", "prior.batch_size=2", *settings))
    # accelerate's own launcher needs MPI to start several processes on CPUs.
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "-m", "--", "training.train_lora"]
    arguments = quick_arguments(prepared, "two", "batch_size=1", "prior.batch_size=1", f"shard={shard}", *settings)
    subprocess.run(
        [*launch, *arguments], check=True, capture_output=True, timeout=240, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )

    losses = [_losses(run) for run in ("one", "two")]
    assert len(losses[1]) == 9
    assert np.allclose(losses[0], losses[1], rtol=1e-3, atol=1e-6)
    validations = [Run(Path("outputs/lora") / run).validations() for run in ("one", "two")]
    validation_losses = [[validation.loss.mean for validation in run_validations] for run_validations in validations]
    assert np.allclose(*validation_losses, rtol=1e-3)
    assert all((Path("outputs/lora") / run / "previews" / "sheet.png").exists() for run in ("one", "two"))


def test_sharding_with_one_process_is_refused(prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train_lora.main(quick_arguments(prepared, "a", "shard=true")) == 2
    assert "shard: true divides the base among several processes" in capsys.readouterr().err


def _losses(run: str) -> list[tuple[float, float]]:
    lines = Path(f"outputs/lora/{run}/metrics.jsonl").read_text().splitlines()
    return [(line["loss"], line["prior"]) for line in map(json.loads, lines)]


def _wait_for_step(run: Path, step: int) -> int:
    """Wait until ``step`` is logged, and return it."""
    for _ in range(6000):
        if (run / "metrics.jsonl").exists() and len((run / "metrics.jsonl").read_text().splitlines()) >= step:
            return step
        time.sleep(0.01)
    raise AssertionError(f"training does not reach step {step}")


def _zero(checkpoint: Checkpoint) -> None:
    """Set the trained weights of a checkpoint to zero, with a valid hash."""
    state = checkpoint.training()
    state["weights"] = {name: weight * 0 for name, weight in state["weights"].items()}
    resume_key = Stage("train", checkpoint.inputs, checkpoint.settings, seed=0)
    assert resume_key.fingerprint == checkpoint.fingerprint
    checkpoints.save(checkpoint.folder.parent, checkpoint.step, resume_key, checkpoint.adapter(), state)


def test_a_tracker_gets_the_same_values_as_the_log(prepared: Path) -> None:
    assert train_lora.main(quick_arguments(prepared, "a", "trackers=[tensorboard]")) == 0
    (events,) = Path("outputs/lora/a/tracked").glob("events.*")
    written = events.read_bytes()
    assert all(name in written for name in (b"loss", b"prior", b"gradient_norm", b"rate", b"held_out_loss", b"gap"))
    assert Path("outputs/lora/a/metrics.jsonl").exists()


@pytest.mark.parametrize(
    ("sets", "code", "message"),
    [
        (["base=models/gone"], 2, "models/gone: there is no base model"),
        (["optimizer.rate=1"], 2, "unknown key 'optimizer.rate'"),
        (["optimizer.lr=1e30", "prior.weight=0"], 1, "not finite"),
        (["trackers=[tensorbord]"], 2, "Did you mean 'tensorboard'?"),
        (["trackers=[wandb]"], 2, "the package of wandb is not there"),
    ],
)
def test_what_goes_wrong_is_named_in_the_error(
    prepared: Path, capsys: pytest.CaptureFixture[str], sets: list[str], code: int, message: str
) -> None:
    assert train_lora.main(quick_arguments(prepared, "bad", *sets)) == code
    assert message in capsys.readouterr().err
    assert not Path("outputs/lora/bad/manifest.json").exists()


def test_a_changed_recipe_starts_over_and_the_old_run_is_archived(prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train_lora.main(quick_arguments(prepared, "a"))
    adapter = _adapter("a")
    capsys.readouterr()
    assert train_lora.main(quick_arguments(prepared, "a", "steps=4")) == 0
    assert "outputs/lora/a: steps: 6 → 4, so it starts over" in capsys.readouterr().out
    assert {path.name for path in Path("outputs/lora/a/checkpoints").iterdir()} <= {"step-000002", "step-000004"}
    assert len(Path("outputs/lora/a/metrics.jsonl").read_text().splitlines()) == 4
    assert _adapter("a-earlier-1") == adapter
    assert train_lora.main(quick_arguments(prepared, "a-earlier-1")) == 0
    assert "outputs/lora/a-earlier-1 is up to date" in capsys.readouterr().out


def test_a_data_set_prepared_for_another_resolution_is_refused(prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train_lora.main(quick_arguments(prepared, "bad", "resolution=256")) == 2
    assert "prepared at 128 px, but the recipe trains at 256" in capsys.readouterr().err


def test_an_unprepared_data_set_says_what_to_do(prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (prepared / "dataset.json").unlink()
    assert train_lora.main(quick_arguments(prepared, "bad")) == 2
    assert "prepare_dataset" in capsys.readouterr().err
