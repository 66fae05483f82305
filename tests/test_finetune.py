"""All stages, run by ``scripts/finetune_z.sh`` as a user does, with very few steps."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.checkouts import TINY, copy_checkout

pytestmark = pytest.mark.slow


@pytest.fixture
def checkout(tmp_path: Path, miniature: Path) -> Path:
    """Return a copy of everything the script needs, so that the real outputs do not change."""
    return copy_checkout(tmp_path / "checkout", miniature)


def _finetune(checkout: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **{name: value for name, value in os.environ.items() if name not in ("FORCE", "RUNNER", "DATASET", "RECIPE")},
        "PYTHON": sys.executable,
        "PYTHONPATH": str(checkout),
        "RUN": "tiny",
        "SET": TINY,
        "PROMPTS": "prompts.yaml",
        **settings,
    }
    return subprocess.run(
        ["scripts/finetune_z.sh"], cwd=checkout, env=environment, capture_output=True, text=True, check=False, timeout=400
    )


def test_images_become_an_adapter_and_a_report_and_a_second_call_repeats_nothing(checkout: Path) -> None:
    first = _finetune(checkout)
    assert first.returncode == 0, first.stdout + first.stderr
    assert first.stdout.startswith("runner: local")
    report = checkout / "outputs" / "lora_eval" / "tiny"
    text = (report / "report.md").read_text()
    assert "| training of tiny | step 4 of at most 4: every step was made |" in text
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert {"overview.webp", "curves.svg"} <= set(links)
    assert all((report / link).exists() for link in links)
    samples = [json.loads(line) for line in (report / "samples.jsonl").read_text().splitlines()]
    assert {sample["lora_scale"] for sample in samples} == {0.0, 0.8}
    assert all({"prompt", "seed", "lora_scale", "image", "status"} <= set(sample) for sample in samples)
    for folder in ("datasets/z", "outputs/lora/tiny", "models/lora/tiny", "outputs/lora_eval/tiny"):
        assert (checkout / folder / "manifest.json").exists()
    assert "models/lora/tiny/tiny.safetensors" in first.stdout
    assert "outputs/lora_eval/tiny/report.html" in first.stdout
    # One prompt proves nothing: the last lines and the card say so.
    verdict = json.loads((report / "verdict.json").read_text())
    assert verdict["outcome"] == "inconclusive"
    assert f"verdict  {verdict['sentence']}" in first.stdout
    assert verdict["sentence"] in (checkout / "models" / "lora" / "tiny" / "README.md").read_text()
    assert verdict == json.loads((checkout / "models" / "lora" / "tiny" / "verdict.json").read_text())

    second = _finetune(checkout)
    assert second.returncode == 0, second.stdout + second.stderr
    assert second.stdout.count("up to date") == 5

    for folder in ("datasets/z", "outputs/lora/tiny", "models/lora/tiny", "outputs/lora_eval/tiny"):
        command = [sys.executable, "-m", "zthumb.cli", "reproduce", f"{folder}/manifest.json"]
        reproduced = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False, timeout=400)
        assert reproduced.returncode == 0, reproduced.stdout + reproduced.stderr
        assert f"files of {folder} are the same byte for byte" in reproduced.stdout
    # Every stage is told to repeat its work, but the last, which only adds the verdict to the card.
    (checkout / "tell").write_text(f'#!/bin/sh\ncase $1 in -m) echo "$*";; *) exec {sys.executable} "$@";; esac\n')
    (checkout / "tell").chmod(0o755)
    forced = _finetune(checkout, FORCE="1", PYTHON=str(checkout / "tell"))
    assert forced.returncode == 0, forced.stdout + forced.stderr
    stages = [line for line in forced.stdout.splitlines() if line.startswith("-m ")]
    assert [stage.split()[1] for stage in stages if "--force" in stage.split()] == [
        "training.prepare_dataset",
        "training.train_lora",
        "training.export_lora",
        "evaluation",
    ]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"DATASET": "datasets/gone"}, "datasets/gone"),
        ({"RECIPE": "mimi"}, "Did you mean 'mini'"),
        ({"SET": "base=models/gone"}, "models/gone"),
        ({"RUNNER": "podman"}, "neither local nor docker"),
        # The model that the verdict needs is checked before training.
        ({"PROMPTS": "evaluation/prompts/sdxl.yaml"}, "download_models dinov2-base"),
    ],
)
def test_bad_input_stops_the_script_with_an_error_and_exit_code_2(checkout: Path, settings: dict[str, str], message: str) -> None:
    result = _finetune(checkout, **settings)
    assert result.returncode == 2, result.stdout + result.stderr
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not (checkout / "models" / "lora").exists()
