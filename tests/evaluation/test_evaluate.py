"""The evaluation, run as a script with a real server of the miniature."""

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
from tests.evaluation.conftest import faulty_server

pytestmark = pytest.mark.slow

PROMPTS = (
    "trained: ['a red {trigger}']\ncontrol: ['a blue star']\nseeds: [1, 2]\nscales: [0, 0.8]\nextractors: [pixel]\nsteps: 3\n"
)
ADAPTER = "models/lora/a/a.safetensors"


@pytest.fixture
def folder(workspace: Path, tmp_path: Path) -> Path:
    """An empty folder with the workspace's models and a prompts file."""
    (tmp_path / "models").symlink_to(workspace / "models")
    (tmp_path / "prompts.yaml").write_text(PROMPTS)
    return tmp_path


def _command(*options: str, adapter: str = ADAPTER) -> list[str]:
    command = [sys.executable, str(ROOT / "scripts" / "eval_lora_report.py"), "--adapter", adapter]
    return [*command, "--trigger", "zbadge", "--prompts", "prompts.yaml", "--run", "r", *options]


def _evaluate(folder: Path, *options: str, adapter: str = ADAPTER) -> subprocess.CompletedProcess[str]:
    return subprocess.run(_command(*options, adapter=adapter), cwd=folder, capture_output=True, text=True, check=False)


def _bytes(folder: Path) -> dict[str, bytes]:
    """Every file of a report but the manifest, which contains the time it took."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "manifest.json"
    }


def test_a_report_says_that_prompt_following_is_not_measured_in_a_language_that_no_extractor_reads(
    folder: Path, server: str
) -> None:
    prompts = PROMPTS.replace("a red {trigger}", "红色的{trigger}").replace("[pixel]", "[pixel, mini-clip]")
    (folder / "prompts.yaml").write_text(prompts, encoding="utf-8")

    done = _evaluate(folder, "--server", server)

    assert done.returncode == 0, done.stderr
    report = folder / "outputs" / "lora_eval" / "r"
    message = "Prompt following is not measured: no extractor for it reads the language of “红色的”."
    assert message in (report / "report.md").read_text(encoding="utf-8")
    results = read_results(report)
    assert [gate.state for gate in results.gates if gate.name == "prompts are read"] == ["not judged"]
    assert "prompt_following" not in results.candidates[-1].by_prompt


def test_a_report_contains_every_image_and_its_distance_to_the_base(folder: Path, server: str) -> None:
    done = _evaluate(folder, "--server", server)
    assert done.returncode == 0, done.stderr
    report = folder / "outputs" / "lora_eval" / "r"
    samples = [sample for sample in read_samples(report) if sample.phase == "sweep"]
    assert len(samples) == 2 * 2 * 2
    bases = {(sample.prompt, sample.seed): sample for sample in samples if sample.adapter is None}
    for sample in (sample for sample in samples if sample.adapter):
        base = bases[sample.prompt, sample.seed]
        base_pixels, pixels = (np.asarray(Image.open(report / str(path)), dtype=float) for path in (base.image, sample.image))
        assert base.distance == 0
        assert sample.distance == pytest.approx(np.abs(base_pixels - pixels).mean() / 255, abs=1e-6)
    results = read_results(report)
    assert results.generated == results.requested == len(read_samples(report))
    assert [adapter.name for adapter in results.adapters] == ["a"]
    assert len(results.adapters[0].sha256) == len(results.base["sha256"]) == 64
    assert results.verdict.outcome == "inconclusive"
    assert "up to date" in _evaluate(folder, "--server", server).stdout


def test_a_stopped_evaluation_ends_without_waiting_for_images_and_stops_its_server(folder: Path) -> None:
    # Given: images that take far longer than anyone would wait.
    (folder / "prompts.yaml").write_text(
        PROMPTS.replace("steps: 3", "steps: 150").replace("[1, 2]", f"[{', '.join('123456789')}]")
    )
    process = subprocess.Popen(_command(), cwd=folder, stderr=subprocess.PIPE, text=True)
    server = _server_of(process)
    while not _is_generating(server.cmdline()[server.cmdline().index("--port") + 1]):
        assert process.poll() is None, "the evaluation ended before it could be stopped"
        time.sleep(0.1)

    process.send_signal(signal.SIGTERM)
    errors = process.communicate(timeout=240)[1]

    assert process.returncode == 130
    assert "Traceback" not in errors
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
        return float(requests.get(f"http://127.0.0.1:{port}/sdapi/v1/progress", timeout=240).json()["progress"]) > 0
    except (requests.RequestException, KeyError):
        return False


def test_a_killed_evaluation_resumes_and_ends_with_the_same_bytes(folder: Path, server: str) -> None:
    (folder / "prompts.yaml").write_text(PROMPTS.replace("[1, 2]", "[1, 2, 3, 4, 5, 6]"))
    reports = folder / "outputs" / "lora_eval"
    process = subprocess.Popen(_command("--server", server, "--in-flight", "1"), cwd=folder, stderr=subprocess.DEVNULL)
    while sum(len(read_samples(partial)) for partial in reports.glob(".r.*")) < 14:
        assert process.poll() is None, "the evaluation ended before it could be killed"
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not (reports / "r").exists()
    partial = next(reports.glob(".r.*"))
    image = partial / str(next(sample.image for sample in read_samples(partial) if sample.phase == "sweep"))
    written = image.stat().st_mtime_ns

    done = _evaluate(folder, "--server", server)

    assert done.returncode == 0, done.stderr
    assert (reports / "r" / "images" / image.name).stat().st_mtime_ns == written
    resumed = _bytes(reports / "r")
    assert _evaluate(folder, "--server", server, "--force").returncode == 0
    assert _bytes(reports / "r") == resumed


def test_two_renderings_of_the_same_results_are_the_same_bytes(folder: Path, server: str) -> None:
    assert _evaluate(folder, "--server", server).returncode == 0
    report = folder / "outputs" / "lora_eval" / "r"
    again = folder / "again"
    command = [sys.executable, "-m", "evaluation", "render", str(report), "--to", str(again)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rendered = _bytes(again)
    assert {"report.html", "report.md", "curves.svg", "overview.webp"} <= set(rendered)
    assert all((report / name).read_bytes() == data for name, data in rendered.items())


def test_without_a_server_one_is_started_and_stopped_with_the_evaluation(folder: Path) -> None:
    done = _evaluate(folder)
    assert done.returncode == 0, done.stderr
    assert (folder / "outputs" / "lora_eval" / "r" / "report.html").exists()
    assert _servers_of(folder) == set()
    # Nothing has changed: no server is started to find that out.
    started = time.monotonic()
    assert "up to date" in _evaluate(folder).stdout
    assert time.monotonic() - started < 20


def _servers_of(folder: Path) -> set[str]:
    """The process ids of the running servers that were started in ``folder``; others on this machine do not matter."""
    process_ids = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if b"zthumb.server.main" in (process / "cmdline").read_bytes() and (process / "cwd").resolve() == folder.resolve():
                process_ids.add(process.name)
        except OSError:
            continue
    return process_ids


def test_failed_samples_are_recorded_and_counted_in_the_report_and_only_they_are_requested_by_the_next_call(
    folder: Path, server: str
) -> None:
    requests_sent: list[dict[str, Any]] = []
    is_broken = threading.Event()
    is_broken.set()

    def fault(fields: dict[str, Any], generate: Any) -> dict[str, Any]:
        requests_sent.append(fields)
        if is_broken.is_set() and fields["prompt"] == "a blue star" and fields.get("lora_scale") == 0.8:
            return {"images": [], "meta": {"loras": [{"sha256": "0"}], "batch_size": 1}}
        response: dict[str, Any] = generate(fields)
        return response

    with faulty_server(server, fault) as url:
        first = _evaluate(folder, "--server", url)
        assert first.returncode == 1, first.stderr
        report = folder / "outputs" / "lora_eval" / "r"
        text = (report / "report.md").read_text()
        assert "4 of 24 images failed" in text, text
        assert {sample.status for sample in read_samples(report)} == {"ok", "failed"}
        assert not (report / "manifest.json").exists()
        requests_sent.clear()
        is_broken.clear()
        second = _evaluate(folder, "--server", url)
    assert second.returncode == 0, second.stderr
    generated = [fields for fields in requests_sent if fields["steps"] == 3 and fields.get("lora_scale") == 0.8]
    # The one that failed in the sweep, and the end phase again, because it must come after everything else.
    assert [fields["prompt"] for fields in generated] == ["a blue star", "a red zbadge", "a blue star"]
    assert (report / "manifest.json").exists()


def test_an_adapter_that_the_server_refuses_ends_in_one_line_and_leaves_nothing(folder: Path, server: str) -> None:
    done = _evaluate(folder, "--server", server, adapter="models/lora/gone.safetensors")
    assert done.returncode == 2
    assert "GET /models lists" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "outputs" / "lora_eval" / "r").exists()


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--server", "http://127.0.0.1:9"), 1, "does not answer"),
        (("--extractor", "clipp"), 2, "Did you mean 'clip'"),
        (("--dataset", "gone"), 2, "prepare_dataset"),
        (("--references", "."), 2, "not a folder with images"),
        (("--adapter", ADAPTER), 2, "two adapters are named 'a'"),
        (("--scales", "0.5,1"), 2, "scale 0, the base, is missing"),
        (("--model", "models/gone"), 2, "models/gone"),
        (("--model", "nobody"), 2, "not in the catalogue"),
    ],
)
def test_bad_input_is_one_line(folder: Path, options: tuple[str, ...], code: int, message: str) -> None:
    done = _evaluate(folder, *options)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_several_requests_are_in_flight_in_the_sweep_but_one_at_a_time_for_the_gates(folder: Path, server: str) -> None:
    in_flight, max_in_flight, lock = 0, dict[str, int](), threading.Lock()

    def fault(fields: dict[str, Any], generate: Any) -> dict[str, Any]:
        nonlocal in_flight
        with lock:
            in_flight += 1
            kind = "zero" if fields.get("lora_scale") == 0 else "sweep"
            max_in_flight[kind] = max(max_in_flight.get(kind, 0), in_flight)
        time.sleep(0.1)
        response: dict[str, Any] = generate(fields)
        with lock:
            in_flight -= 1
        return response

    with faulty_server(server, fault) as url:
        assert _evaluate(folder, "--server", url, "--in-flight", "3").returncode == 0
    assert max_in_flight == {"zero": 1, "sweep": 3}


def test_adapters_with_similar_names_do_not_share_image_files(folder: Path, workspace: Path, server: str) -> None:
    names = ["my-concept-sdxl-rank16-lr1e-4-2026-11-21-step-000150", "my-concept-sdxl-rank16-lr1e-4-2026-11-21-step-000300"]
    options = [option for name in names for option in ("--adapter", f"{name}={ADAPTER}")]
    done = _evaluate(folder, "--server", server, *options)
    assert done.returncode == 0, done.stderr
    samples = read_samples(folder / "outputs" / "lora_eval" / "r")
    assert len({sample.image for sample in samples}) == len(samples)


@pytest.mark.parametrize(
    ("response", "message"),
    [
        ({"images": [{"b64_json": "bm8gcGljdHVyZQ=="}] * 2}, "is not an image"),
        ({"images": []}, "returned 0 of 2 images"),
    ],
)
def test_an_invalid_response_is_recorded_as_a_failed_sample(
    folder: Path, server: str, response: dict[str, Any], message: str
) -> None:
    def fault(fields: dict[str, Any], generate: Any) -> dict[str, Any]:
        if fields["prompt"] == "a blue star" and fields.get("lora_scale") == 0.8:
            return {**response, "meta": {"loras": [{"sha256": "0"}], "batch_size": 1}}
        valid: dict[str, Any] = generate(fields)
        return valid

    with faulty_server(server, fault) as url:
        done = _evaluate(folder, "--server", url)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    failed = [sample for sample in read_samples(folder / "outputs" / "lora_eval" / "r") if sample.status == "failed"]
    assert len(failed) == 4
    assert all(message in str(sample.error) for sample in failed)


def test_checkpoints_are_compared_in_one_grid(folder: Path, workspace: Path, server: str) -> None:
    later = workspace / "models" / "lora" / "a" / "later.safetensors"
    shutil.copy(workspace / "models" / "lora" / "a" / "a.safetensors", later)
    try:
        done = _evaluate(folder, "--server", server, "--adapter", "later=models/lora/a/later.safetensors")
    finally:
        later.unlink()
    assert done.returncode == 0, done.stderr
    report = folder / "outputs" / "lora_eval" / "r"
    results = read_results(report)
    assert [(candidate.adapter, candidate.lora_scale) for candidate in results.candidates] == [
        (None, 0.0),
        ("a", 0.8),
        ("later", 0.8),
    ]
    bases = [sample for sample in read_samples(report) if sample.phase == "sweep" and sample.adapter is None]
    assert len(bases) == 2 * 2
    assert "later 0.8" in (report / "report.html").read_text()
    json.loads((report / "verdict.json").read_text())
