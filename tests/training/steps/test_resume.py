"""Whatever a recipe trains with, a run that goes on ends with the bytes of one that never stopped."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.training.conftest import quick_arguments
from tests.training.test_train_lora import _adapter
from training import train_lora
from training.steps import checkpoints
from training.steps.run import Run

pytestmark = pytest.mark.slow

SHORT = ("steps=4", "checkpoint_every=2", "prior.weight=0", "validation.strata=1", "optimizer.warmup_steps=0")
RUN = Path("outputs/lora/a")


@pytest.mark.parametrize(
    "settings",
    [
        ("adapter.use_dora=true", "precision=fp16"),
        ("adapter.tokens=2", "adapter.ema_decay=0.9", "optimizer.name=adamw_8bit", "optimizer.token_lr=1e-2"),
        (
            "adapter.targets=attention+feed-forward+convolution",
            "adapter.use_rslora=true",
            "optimizer.name=prodigy",
            "optimizer.lr=1",
        ),
        ("quantize=nf4", "objective.prediction=v_prediction", "precision=bf16", "gradient_checkpointing=true"),
        ("quantize=int8", "objective.timesteps=logit_normal", "objective.noise_offset=0.05", "gradient_accumulation_steps=2"),
        ("base=models/mini-sd15", "adapter.text_encoders=true", "optimizer.name=adafactor"),
    ],
    ids=lambda settings: " ".join(settings),
)
def test_it_goes_on_as_if_it_had_never_stopped(prepared: Path, settings: tuple[str, ...]) -> None:
    arguments = quick_arguments(prepared, "a", *SHORT, *settings)
    train_lora.main(arguments)
    whole, metrics = _adapter("a", 4), (RUN / "metrics.jsonl").read_text()
    half = checkpoints.read_checkpoints(RUN / "checkpoints")[0]
    assert half.step == 2
    assert _adapter("a", 2) != whole
    shutil.rmtree(RUN / "checkpoints" / "step-000004")
    (RUN / "manifest.json").unlink()

    assert train_lora.main(arguments) == 0

    assert _adapter("a", 4) == whole
    assert (RUN / "metrics.jsonl").read_text() == metrics


def test_a_run_that_was_over_early_is_over_when_it_goes_on(prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # At such a rate the held-out loss rises at once.
    settings = ("optimizer.lr=0.3", "prior.weight=0", "optimizer.warmup_steps=0", "checkpoint_every=1", "validation.patience=1")
    arguments = quick_arguments(prepared, "a", *settings)
    train_lora.main(arguments)
    (message,) = (line for line in capsys.readouterr().out.splitlines() if "steps requested" in line)
    last = int(message.split("ended after ")[1].split()[0])
    assert last < 6
    assert f"6 steps requested: it ended after {last} steps, as the held-out loss fell no more" in message
    looks, chosen = (RUN / "validation.jsonl").read_text(), (RUN / "chosen.json").read_text()
    (RUN / "manifest.json").unlink()

    assert train_lora.main(arguments) == 0

    assert [look.step for look in Run(RUN).validations()] == list(range(last + 1))
    assert ((RUN / "validation.jsonl").read_text(), (RUN / "chosen.json").read_text()) == (looks, chosen)


def test_several_processes_stop_together_and_leave_none_behind(prepared: Path) -> None:
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "-m", "--", "training.train_lora"]
    arguments = quick_arguments(prepared, "a", "batch_size=1", "prior.weight=0", "steps=5000", "checkpoint_every=5000")
    launcher = subprocess.Popen([*launch, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (RUN / "metrics.jsonl").exists() or len((RUN / "metrics.jsonl").read_text().splitlines()) < 3:
        time.sleep(0.1)
        assert launcher.poll() is None

    launcher.send_signal(signal.SIGTERM)
    launcher.wait(timeout=120)

    (kept,) = checkpoints.read_checkpoints(RUN / "checkpoints")
    assert kept.is_valid
    assert 3 <= kept.step < 5000
    with Run.lock(RUN):  # nobody holds it any more
        pass
