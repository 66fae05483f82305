"""Jobs are accepted, followed, cancelled and stored, and survive the death of the server."""

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from fastapi.testclient import TestClient
from PIL import Image
from safetensors.torch import load_file

from foundation.errors import BadInput
from tests.zthumb.server.conftest import pixels, settings, started
from zthumb.checkpoints import safetensors_file
from zthumb.server.app import create_app
from zthumb.server.storage.rows import ImageRow
from zthumb.server.storage.store import Store

pytestmark = pytest.mark.slow

STAR = {"prompt": "a photo of a red star", "seed": 4, "steps": 3, "deterministic": True}
LONG = {"prompt": "a photo of a ring", "seed": 1, "steps": 150, "batch": 4, "deterministic": True}


def _wait_until_ended(client: Any, job: str, base: str = "") -> dict[str, Any]:
    for _ in range(4000):
        status: dict[str, Any] = client.get(f"{base}/jobs/{job}").json()
        if status["state"] not in ("queued", "running"):
            return status
        time.sleep(0.05)
    raise AssertionError("the job does not end")


def test_a_job_is_accepted_and_generated_and_its_images_can_be_fetched(client: TestClient) -> None:
    response = client.post("/jobs", json={**STAR, "batch": 2})
    assert response.status_code == 202
    done = _wait_until_ended(client, response.json()["id"])
    assert (done["state"], done["progress"], done["error"]) == ("done", 1.0, None)
    assert [image["seed"] for image in done["images"]] == [4, 5]
    assert done["meta"]["steps"] == 3
    expected = client.post("/generate", json={**STAR, "batch": 2})
    for index, image in enumerate(done["images"]):
        file = client.get(image["url"])
        assert (file.headers["content-type"], file.headers["x-content-type-options"]) == ("image/png", "nosniff")
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(file.content))), pixels(expected, index))


def test_the_parameters_in_a_png_reproduce_it_byte_for_byte(client: TestClient) -> None:
    request = {**STAR, "lora_path": "lora/strong/strong.safetensors", "lora_scale": 0.5}
    done = _wait_until_ended(client, client.post("/jobs", json=request).json()["id"])
    png = client.get(done["images"][0]["url"]).content

    parameters = client.post("/images/inspect", content=png, headers={"content-type": "image/png"}).json()["parameters"]

    assert (parameters["prompt"], parameters["seed"], parameters["scheduler"]) == (STAR["prompt"], 4, "euler")
    same_request = {
        **{name: parameters[name] for name in ("prompt", "seed", "steps", "width", "height", "scheduler", "variant")},
        "cfg": parameters["guidance_scale"],
        "loras": [{"path": lora["path"], "weight": lora["weight"]} for lora in parameters["loras"]],
        "deterministic": True,
    }
    again = _wait_until_ended(client, client.post("/jobs", json=same_request).json()["id"])
    assert client.get(again["images"][0]["url"]).content == png


@pytest.mark.parametrize("body", [b"", b"no image", b"\x89PNG\r\n\x1a\n and no more"])
def test_inspecting_a_file_that_is_not_an_image_is_refused(client: TestClient, body: bytes) -> None:
    response = client.post("/images/inspect", content=body, headers={"content-type": "image/png"})
    assert response.status_code == 422


def test_the_events_of_a_job_follow_it_to_its_end(client: TestClient) -> None:
    job = client.post("/jobs", json={**STAR, "steps": 20}).json()["id"]
    with client.stream("GET", f"/jobs/{job}/events") as events:
        assert events.headers["content-type"].startswith("text/event-stream")
        statuses = [json.loads(line.removeprefix("data: ")) for line in events.iter_lines() if line.startswith("data: ")]
    assert statuses[-1]["state"] == "done"
    progress = [status["progress"] for status in statuses]
    assert progress == sorted(progress)
    assert all(status["eta_s"] is not None for status in statuses[:-1])


def test_a_running_job_is_cancelled_at_its_next_step_and_a_queued_one_before_its_first(client: TestClient) -> None:
    first, second = (client.post("/jobs", json=LONG).json() for _ in range(2))
    while client.get(f"/jobs/{first['id']}").json()["progress"] == 0:
        time.sleep(0.05)
    assert client.get(f"/jobs/{second['id']}").json()["position"] == 0
    for job in (second, first, first):
        assert client.delete(f"/jobs/{job['id']}").status_code == 200
    for job in (first, second):
        assert _wait_until_ended(client, job["id"])["state"] == "cancelled"
    assert client.delete(f"/jobs/{first['id']}").json()["state"] == "cancelled"
    assert _wait_until_ended(client, client.post("/jobs", json=STAR).json()["id"])["state"] == "done"


def test_unknown_jobs_and_images_are_not_found(client: TestClient) -> None:
    for response in (
        client.get("/jobs/gone"),
        client.delete("/jobs/gone"),
        client.get("/jobs/gone/events"),
        client.get("/images/gone"),
    ):
        assert response.status_code == 404
        assert re.search("there is no (job|image) 'gone'", response.json()["detail"])


def test_an_adapter_for_another_base_fails_the_job_with_the_reason(client: TestClient, models: Path) -> None:
    strong = load_file(models / "lora" / "strong" / "strong.safetensors")
    file = models / "lora" / "other" / "other.safetensors"
    file.parent.mkdir(exist_ok=True)
    safetensors_file.write({name: value.repeat(2, 2) if value.dim() == 2 else value for name, value in strong.items()}, {}, file)
    failed = _wait_until_ended(client, client.post("/jobs", json={**STAR, "loras": [{"id": "other"}]}).json()["id"])
    assert failed["state"] == "failed"
    assert failed["error"].startswith("lora/other/other.safetensors: an adapter for another base")


def test_a_job_that_has_ended_keeps_its_state(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for job in ("done", "cancelled"):
        store.add_job(job, {})
    store.finish_job("done", {"steps": 1}, [], [ImageRow(id="a", job="done", position=0, seed="1", file="a.png")])
    store.end_job("done", "cancelled")
    store.end_job("cancelled", "cancelled")
    store.finish_job("cancelled", {"steps": 1}, [], [ImageRow(id="b", job="cancelled", position=0, seed="1", file="b.png")])
    rows = [store.get_job(job) for job in ("done", "cancelled")]
    assert [row.state for row in rows if row] == ["done", "cancelled"]
    assert ([image.id for image in store.get_images("done")], store.get_images("cancelled")) == (["a"], [])
    store.close()


def test_jobs_of_a_killed_server_are_generated_by_the_next_one(models: Path, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        "MODEL": str(models / "mini-sdxl"),
        "ZTHUMB_MODELS_FOLDER": str(models),
        "ZTHUMB_DATA_FOLDER": str(tmp_path / "data"),
    }
    command = [sys.executable, "-m", "zthumb.server.main", "--port", str(port)]
    process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL)
    base = f"http://127.0.0.1:{port}"
    try:
        for _ in range(3000):
            try:
                if requests.get(f"{base}/health/ready", timeout=1).ok:
                    break
            except requests.RequestException:
                assert process.poll() is None
            time.sleep(0.1)
        long, unseeded = (
            requests.post(f"{base}/jobs", json=request, timeout=10).json() for request in (LONG, {**STAR, "seed": None})
        )
        requests.delete(f"{base}/jobs/{long['id']}", timeout=10)
        short = requests.post(f"{base}/jobs", json={**LONG, "steps": 10}, timeout=10).json()
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    with started(settings(models, data_folder=tmp_path / "data")) as client:
        assert _wait_until_ended(client, unseeded["id"])["state"] == "done"
        assert len(_wait_until_ended(client, short["id"])["images"]) == 4
        assert client.get(f"/jobs/{long['id']}").json()["state"] == "cancelled"
        with pytest.raises(BadInput, match="another server keeps its jobs here"):
            create_app(settings(models, data_folder=tmp_path / "data"))


def test_jobs_that_have_not_started_at_shutdown_are_generated_by_the_next_server(models: Path, tmp_path: Path) -> None:
    small_queue = settings(models, data_folder=tmp_path / "data", queue_capacity=150)
    with started(small_queue) as client:
        jobs = [client.post("/jobs", json={**STAR, "steps": steps}).json()["id"] for steps in (60, 70, 80)]
        while client.get(f"/jobs/{jobs[0]}").json()["state"] == "queued":
            time.sleep(0.02)
    store = Store(tmp_path / "data")
    unfinished = [row.id for row in store.open_jobs()]
    store.close()
    assert unfinished == jobs[1:]
    # They are queued again whatever the capacity, because they were accepted.
    with started(settings(models, data_folder=tmp_path / "data", queue_capacity=100)) as client:
        assert [_wait_until_ended(client, job)["state"] for job in jobs] == ["done"] * 3


def test_an_open_event_stream_does_not_block_the_shutdown(models: Path, tmp_path: Path) -> None:
    with started(settings(models, data_folder=tmp_path / "data")) as client:
        jobs = [client.post("/jobs", json=LONG).json()["id"] for _ in range(2)]
        service_jobs = client.app.state.jobs  # type: ignore[attr-defined]
        with client.stream("GET", f"/jobs/{jobs[1]}/events") as events:
            lines = events.iter_lines()
            assert next(lines) == "event: queued"
            service_jobs.drain()
            client.delete(f"/jobs/{jobs[0]}")
            assert all("done" not in line for line in lines)
