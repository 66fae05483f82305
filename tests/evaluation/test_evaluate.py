"""The evaluation, run as a script against a real server on the miniature."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
from PIL import Image

from tests.adapters import random_adapter
from tests.conftest import ROOT
from zthumb.adapters.layouts import save_kohya

pytestmark = pytest.mark.slow

PROMPTS = "trigger: ['a red {trigger}']\ncontrol: ['a blue star']\nseeds: [1, 2]\nscales: [0, 0.8]\nsteps: 3\n"


@pytest.fixture
def room(tmp_path: Path, miniature: Path) -> Path:
    """A folder with the miniature, an adapter and a prompts file."""
    (tmp_path / "models" / "lora" / "a").mkdir(parents=True)
    (tmp_path / "models" / "mini-sdxl").symlink_to(miniature)
    (tmp_path / "prompts.yaml").write_text(PROMPTS)
    save_kohya(random_adapter(miniature), tmp_path / "models" / "lora" / "a" / "a.safetensors", 1, {"ss_v2": "False"})
    return tmp_path


@pytest.fixture
def server(room: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "zthumb.server.main", "--port", str(port), "--model", "models/mini-sdxl"]
    process = subprocess.Popen(command, cwd=room)
    try:
        for _ in range(240):
            try:
                if requests.get(f"http://127.0.0.1:{port}/health/ready", timeout=1).ok:
                    break
            except requests.RequestException:
                assert process.poll() is None, "the server ended"
            time.sleep(0.25)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=30)


def _evaluate(
    room: Path, server: str, *options: str, adapter: str = "models/lora/a/a.safetensors"
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(_command(server, *options, adapter=adapter), cwd=room, capture_output=True, text=True, check=False)


def _command(server: str, *options: str, adapter: str = "models/lora/a/a.safetensors") -> list[str]:
    command = [sys.executable, str(ROOT / "scripts" / "eval_lora_report.py"), "--server", server, "--adapter", adapter]
    return [*command, "--trigger", "zbadge", "--prompts", "prompts.yaml", "--run", "r", *options]


def _lines(reports: Path, pattern: str) -> list[str]:
    """The whole lines of the one file that ``pattern`` finds; none while it is not there."""
    return [line for path in reports.glob(pattern) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


def test_a_report_holds_every_picture_and_the_true_distances(room: Path, server: str) -> None:
    done = _evaluate(room, server)
    assert done.returncode == 0, done.stderr
    folder = room / "outputs" / "lora_eval" / "r"
    samples = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    assert len(samples) == 2 * 2 * 2
    for prompt in {sample["prompt"] for sample in samples}:
        for seed in (1, 2):
            base, moved = (
                next(s for s in samples if (s["prompt"], s["seed"], s["lora_scale"]) == (prompt, seed, scale))
                for scale in (0, 0.8)
            )
            first, second = (np.asarray(Image.open(folder / s["image"]), dtype=float) for s in (base, moved))
            assert base["distance"] == 0
            assert moved["distance"] == pytest.approx(np.abs(first - second).mean() / 255, abs=1e-6)
            assert moved["distance"] > 0
    results = json.loads((folder / "results.json").read_text())
    assert (results["asked"], results["answered"]) == (8, 8)
    assert len(results["adapter"]["sha256"]) == len(results["base"]["sha256"]) == 64
    assert "up to date" in _evaluate(room, server).stdout


def test_killed_in_the_middle_it_goes_on_and_ends_with_the_same_pictures(room: Path, server: str) -> None:
    (room / "prompts.yaml").write_text(PROMPTS.replace("[1, 2]", "[1, 2, 3, 4, 5, 6]"))
    reports = room / "outputs" / "lora_eval"
    process = subprocess.Popen(_command(server), cwd=room)
    while not (begun := _lines(reports, ".r.*/samples.jsonl")):
        assert process.poll() is None, "the evaluation ended before it could be killed"
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not (reports / "r").exists()
    kept = next(reports.glob(".r.*")) / json.loads(begun[0])["image"]
    written = kept.stat().st_mtime_ns

    done = _evaluate(room, server)

    assert done.returncode == 0, done.stderr
    resumed = [json.loads(line) for line in _lines(reports, "r/samples.jsonl")]
    assert len(resumed) == 2 * 6 * 2
    assert (reports / "r" / "images" / kept.name).stat().st_mtime_ns == written
    assert _evaluate(room, server, "--force").returncode == 0
    again = [json.loads(line) for line in _lines(reports, "r/samples.jsonl")]
    assert [sample["sha256"] for sample in again] == [sample["sha256"] for sample in resumed]


def test_what_the_server_refuses_ends_in_one_line_and_leaves_nothing(room: Path, server: str) -> None:
    done = _evaluate(room, server, adapter="models/lora/gone.safetensors")
    assert done.returncode == 2
    assert "GET /models lists" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (room / "outputs" / "lora_eval" / "r").exists()


def test_a_server_that_is_not_there_is_said(room: Path) -> None:
    done = _evaluate(room, "http://127.0.0.1:9")
    assert done.returncode == 1
    assert "does not answer" in done.stderr
