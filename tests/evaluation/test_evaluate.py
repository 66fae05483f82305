"""The evaluation, run as a script against a real server on the miniature."""

import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import requests
from PIL import Image

from evaluation.results import read_results, read_samples
from tests.conftest import ROOT
from tests.evaluation.conftest import faulty

pytestmark = pytest.mark.slow

PROMPTS = (
    "trained: ['a red {trigger}']\ncontrol: ['a blue star']\nseeds: [1, 2]\nscales: [0, 0.8]\nextractors: [pixel]\nsteps: 3\n"
)
ADAPTER = "models/lora/a/a.safetensors"


@pytest.fixture
def place(room: Path, tmp_path: Path) -> Path:
    """A folder of its own with the room's models and a prompts file."""
    (tmp_path / "models").symlink_to(room / "models")
    (tmp_path / "prompts.yaml").write_text(PROMPTS)
    return tmp_path


def _command(*options: str, adapter: str = ADAPTER) -> list[str]:
    command = [sys.executable, str(ROOT / "scripts" / "eval_lora_report.py"), "--adapter", adapter]
    return [*command, "--trigger", "zbadge", "--prompts", "prompts.yaml", "--run", "r", *options]


def _evaluate(place: Path, *options: str, adapter: str = ADAPTER) -> subprocess.CompletedProcess[str]:
    return subprocess.run(_command(*options, adapter=adapter), cwd=place, capture_output=True, text=True, check=False)


def _bytes(folder: Path) -> dict[str, bytes]:
    """Every file of a report but the manifest, which tells how long it took."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "manifest.json"
    }


def test_a_report_holds_every_image_and_the_true_distances(place: Path, server: str) -> None:
    done = _evaluate(place, "--server", server)
    assert done.returncode == 0, done.stderr
    folder = place / "outputs" / "lora_eval" / "r"
    samples = [sample for sample in read_samples(folder) if sample.phase == "sweep"]
    assert len(samples) == 2 * 2 * 2
    for moved in (sample for sample in samples if sample.adapter):
        base = next(each for each in samples if (each.prompt, each.seed, each.adapter) == (moved.prompt, moved.seed, None))
        first, second = (np.asarray(Image.open(folder / str(each.image)), dtype=float) for each in (base, moved))
        assert base.distance == 0
        assert moved.distance == pytest.approx(np.abs(first - second).mean() / 255, abs=1e-6)
    results = read_results(folder)
    assert results.answered == results.asked == len(read_samples(folder))
    assert [each.name for each in results.adapters] == ["a"]
    assert len(results.adapters[0].sha256) == len(results.base["sha256"]) == 64
    assert results.verdict.outcome == "inconclusive"
    assert "up to date" in _evaluate(place, "--server", server).stdout


def test_told_to_stop_it_ends_without_waiting_for_images_and_takes_its_server_along(place: Path) -> None:
    # Given images that take far longer than anyone would wait.
    (place / "prompts.yaml").write_text(
        PROMPTS.replace("steps: 3", "steps: 150").replace("[1, 2]", f"[{', '.join('123456789')}]")
    )
    process = subprocess.Popen(_command(), cwd=place, stderr=subprocess.PIPE, text=True)
    server = _server_of(process)
    while not _is_generating(server.cmdline()[server.cmdline().index("--port") + 1]):
        assert process.poll() is None, "the evaluation ended before it could be told to"
        time.sleep(0.1)

    process.send_signal(signal.SIGTERM)
    printed = process.communicate(timeout=60)[1]

    assert process.returncode == 130
    assert "Traceback" not in printed
    assert not server.is_running()


def _server_of(process: "subprocess.Popen[str]") -> psutil.Process:
    while process.poll() is None:
        for child in psutil.Process(process.pid).children():
            if "--port" in child.cmdline():
                return child
        time.sleep(0.1)
    raise AssertionError("the evaluation ended before it had started a server")


def _is_generating(port: str) -> bool:
    try:
        return float(requests.get(f"http://127.0.0.1:{port}/sdapi/v1/progress", timeout=60).json()["progress"]) > 0
    except (requests.RequestException, KeyError):
        return False


def test_killed_in_the_middle_it_goes_on_and_ends_with_the_same_bytes(place: Path, server: str) -> None:
    (place / "prompts.yaml").write_text(PROMPTS.replace("[1, 2]", "[1, 2, 3, 4, 5, 6]"))
    reports = place / "outputs" / "lora_eval"
    process = subprocess.Popen(_command("--server", server, "--in-flight", "1"), cwd=place, stderr=subprocess.DEVNULL)
    while sum(len(read_samples(folder)) for folder in reports.glob(".r.*")) < 14:
        assert process.poll() is None, "the evaluation ended before it could be killed"
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not (reports / "r").exists()
    begun = next(reports.glob(".r.*"))
    kept = begun / str(next(sample.image for sample in read_samples(begun) if sample.phase == "sweep"))
    written = kept.stat().st_mtime_ns

    done = _evaluate(place, "--server", server)

    assert done.returncode == 0, done.stderr
    assert (reports / "r" / "images" / kept.name).stat().st_mtime_ns == written
    resumed = _bytes(reports / "r")
    assert _evaluate(place, "--server", server, "--force").returncode == 0
    assert _bytes(reports / "r") == resumed


def test_two_renderings_of_the_same_results_are_the_same_bytes(place: Path, server: str) -> None:
    assert _evaluate(place, "--server", server).returncode == 0
    report = place / "outputs" / "lora_eval" / "r"
    again = place / "again"
    command = [sys.executable, "-m", "evaluation", "render", str(report), "--to", str(again)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rendered = _bytes(again)
    assert {"report.html", "report.md", "curves.svg", "overview.webp"} <= set(rendered)
    assert all((report / name).read_bytes() == data for name, data in rendered.items())


def test_a_server_of_its_own_is_started_and_ends_with_it(place: Path) -> None:
    done = _evaluate(place)
    assert done.returncode == 0, done.stderr
    assert (place / "outputs" / "lora_eval" / "r" / "report.html").exists()
    assert _servers_of(place) == set()
    # Nothing has changed: no server is started to find that out.
    started = time.monotonic()
    assert "up to date" in _evaluate(place).stdout
    assert time.monotonic() - started < 20


def _servers_of(place: Path) -> set[str]:
    """The servers that were started in ``place`` and run; others on this machine are none of ours."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if b"zthumb.server.main" in (process / "cmdline").read_bytes() and (process / "cwd").resolve() == place.resolve():
                found.add(process.name)
        except OSError:
            continue
    return found


def test_samples_that_fail_are_records_the_report_says_n_of_n_and_the_next_call_asks_for_them_alone(
    place: Path, server: str
) -> None:
    asked: list[dict[str, Any]] = []
    is_ill = threading.Event()
    is_ill.set()

    def fault(fields: dict[str, Any], ask: Any) -> dict[str, Any]:
        asked.append(fields)
        if is_ill.is_set() and fields["prompt"] == "a blue star" and fields.get("lora_scale") == 0.8:
            return {"images": [], "meta": {"loras": [{"sha256": "0"}], "together": 1}}
        answer: dict[str, Any] = ask(fields)
        return answer

    with faulty(server, fault) as url:
        first = _evaluate(place, "--server", url)
        assert first.returncode == 1, first.stderr
        report = place / "outputs" / "lora_eval" / "r"
        text = (report / "report.md").read_text()
        assert "4 of 24 images failed" in text, text
        assert {sample.status for sample in read_samples(report)} == {"ok", "failed"}
        assert not (report / "manifest.json").exists()
        asked.clear()
        is_ill.clear()
        second = _evaluate(place, "--server", url)
    assert second.returncode == 0, second.stderr
    swept = [fields for fields in asked if fields["steps"] == 3 and fields.get("lora_scale") == 0.8]
    # The one that failed in the sweep, and what must come after everything else once more.
    assert [fields["prompt"] for fields in swept] == ["a blue star", "a red zbadge", "a blue star"]
    assert (report / "manifest.json").exists()


def test_what_the_server_refuses_ends_in_one_line_and_leaves_nothing(place: Path, server: str) -> None:
    done = _evaluate(place, "--server", server, adapter="models/lora/gone.safetensors")
    assert done.returncode == 2
    assert "GET /models lists" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (place / "outputs" / "lora_eval" / "r").exists()


@pytest.mark.parametrize(
    ("options", "code", "named"),
    [
        (("--server", "http://127.0.0.1:9"), 1, "does not answer"),
        (("--extractor", "clipp"), 2, "Did you mean 'clip'"),
        (("--dataset", "gone"), 2, "prepare_dataset"),
        (("--references", "."), 2, "no folder with images"),
        (("--adapter", ADAPTER), 2, "two are called 'a'"),
        (("--scales", "0.5,1"), 2, "scale 0, the base, is missing"),
        (("--model", "models/gone"), 2, "models/gone"),
        (("--model", "nobody"), 2, "not in the catalogue"),
    ],
)
def test_bad_input_is_one_line(place: Path, options: tuple[str, ...], code: int, named: str) -> None:
    done = _evaluate(place, *options)
    assert done.returncode == code, done.stderr
    assert named in done.stderr
    assert "Traceback" not in done.stderr


def test_several_requests_are_in_flight_and_none_beside_those_of_the_gates(place: Path, server: str) -> None:
    now, most, lock = 0, dict[str, int](), threading.Lock()

    def fault(fields: dict[str, Any], ask: Any) -> dict[str, Any]:
        nonlocal now
        with lock:
            now += 1
            kind = "zero" if fields.get("lora_scale") == 0 else "sweep"
            most[kind] = max(most.get(kind, 0), now)
        time.sleep(0.1)
        answer: dict[str, Any] = ask(fields)
        with lock:
            now -= 1
        return answer

    with faulty(server, fault) as url:
        assert _evaluate(place, "--server", url, "--in-flight", "3").returncode == 0
    assert most == {"zero": 1, "sweep": 3}


def test_adapters_of_like_names_have_images_of_their_own(place: Path, room: Path, server: str) -> None:
    names = ["my-concept-sdxl-rank16-lr1e-4-2026-11-21-step-000150", "my-concept-sdxl-rank16-lr1e-4-2026-11-21-step-000300"]
    options = [option for name in names for option in ("--adapter", f"{name}={ADAPTER}")]
    done = _evaluate(place, "--server", server, *options)
    assert done.returncode == 0, done.stderr
    samples = read_samples(place / "outputs" / "lora_eval" / "r")
    assert len({sample.image for sample in samples}) == len(samples)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"images": [{"b64_json": "bm8gcGljdHVyZQ=="}] * 2}, "is no image"),
        ({"images": []}, "answered 0 of 2 images"),
    ],
)
def test_an_answer_that_is_none_is_a_record(place: Path, server: str, answer: dict[str, Any], told: str) -> None:
    def fault(fields: dict[str, Any], ask: Any) -> dict[str, Any]:
        if fields["prompt"] == "a blue star" and fields.get("lora_scale") == 0.8:
            return {**answer, "meta": {"loras": [{"sha256": "0"}], "together": 1}}
        real: dict[str, Any] = ask(fields)
        return real

    with faulty(server, fault) as url:
        done = _evaluate(place, "--server", url)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    failed = [sample for sample in read_samples(place / "outputs" / "lora_eval" / "r") if sample.status == "failed"]
    assert len(failed) == 4
    assert all(told in str(sample.error) for sample in failed)


def test_checkpoints_are_compared_in_one_grid(place: Path, room: Path, server: str) -> None:
    other = room / "models" / "lora" / "a" / "later.safetensors"
    shutil.copy(room / "models" / "lora" / "a" / "a.safetensors", other)
    try:
        done = _evaluate(place, "--server", server, "--adapter", "later=models/lora/a/later.safetensors")
    finally:
        other.unlink()
    assert done.returncode == 0, done.stderr
    report = place / "outputs" / "lora_eval" / "r"
    results = read_results(report)
    assert [(each.adapter, each.lora_scale) for each in results.candidates] == [(None, 0.0), ("a", 0.8), ("later", 0.8)]
    bases = [sample for sample in read_samples(report) if sample.phase == "sweep" and sample.adapter is None]
    assert len(bases) == 2 * 2
    assert "later 0.8" in (report / "report.html").read_text()
    json.loads((report / "verdict.json").read_text())
