"""Jobs are accepted, followed, stopped and kept, also over the death of the server."""

import io
import json
import os
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
from zthumb.adapters import safetensors_file
from zthumb.server.app import create_app
from zthumb.server.store import ImageRow, Store

pytestmark = pytest.mark.slow

STAR = {"prompt": "a photo of a red star", "seed": 4, "steps": 3, "deterministic": True}
LONG = {"prompt": "a photo of a ring", "seed": 1, "steps": 150, "batch": 4, "deterministic": True}


def _ended(client: Any, job: str, base: str = "") -> dict[str, Any]:
    for _ in range(1200):
        found: dict[str, Any] = client.get(f"{base}/jobs/{job}").json()
        if found["state"] not in ("queued", "running"):
            return found
        time.sleep(0.05)
    raise AssertionError("the job does not end")


def test_a_job_is_accepted_generated_and_its_images_are_there(client: TestClient) -> None:
    answer = client.post("/jobs", json={**STAR, "batch": 2})
    assert answer.status_code == 202
    done = _ended(client, answer.json()["id"])
    assert (done["state"], done["progress"], done["error"]) == ("done", 1.0, None)
    assert [image["seed"] for image in done["images"]] == [4, 5]
    assert done["meta"]["steps"] == 3
    ours = client.post("/generate", json={**STAR, "batch": 2})
    for place, image in enumerate(done["images"]):
        found = client.get(image["url"])
        assert (found.headers["content-type"], found.headers["x-content-type-options"]) == ("image/png", "nosniff")
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(found.content))), pixels(ours, place))


def test_a_png_tells_what_it_was_made_from_and_that_makes_it_again(client: TestClient) -> None:
    asked = {**STAR, "lora_path": "lora/strong/strong.safetensors", "lora_scale": 0.5}
    done = _ended(client, client.post("/jobs", json=asked).json()["id"])
    png = client.get(done["images"][0]["url"]).content

    told = client.post("/images/inspect", content=png, headers={"content-type": "image/png"}).json()["parameters"]

    assert (told["prompt"], told["seed"], told["scheduler"]) == (STAR["prompt"], 4, "euler")
    again = {
        **{name: told[name] for name in ("prompt", "seed", "steps", "width", "height", "scheduler", "variant")},
        "cfg": told["guidance_scale"],
        "loras": [{"path": lora["path"], "weight": lora["weight"]} for lora in told["loras"]],
        "deterministic": True,
    }
    made = _ended(client, client.post("/jobs", json=again).json()["id"])
    assert client.get(made["images"][0]["url"]).content == png


@pytest.mark.parametrize("body", [b"", b"no image", b"\x89PNG\r\n\x1a\n and no more"])
def test_other_files_are_refused(client: TestClient, body: bytes) -> None:
    answer = client.post("/images/inspect", content=body, headers={"content-type": "image/png"})
    assert answer.status_code == 422


def test_a_job_is_followed_to_its_end(client: TestClient) -> None:
    job = client.post("/jobs", json={**STAR, "steps": 20}).json()["id"]
    with client.stream("GET", f"/jobs/{job}/events") as events:
        assert events.headers["content-type"].startswith("text/event-stream")
        told = [json.loads(line.removeprefix("data: ")) for line in events.iter_lines() if line.startswith("data: ")]
    assert told[-1]["state"] == "done"
    progress = [each["progress"] for each in told]
    assert progress == sorted(progress)
    assert all(each["eta_s"] is not None for each in told[:-1])


def test_a_job_is_stopped_at_its_next_step_and_one_behind_it_before_its_first(client: TestClient) -> None:
    first, second = (client.post("/jobs", json=LONG).json() for _ in range(2))
    while client.get(f"/jobs/{first['id']}").json()["progress"] == 0:
        time.sleep(0.05)
    assert client.get(f"/jobs/{second['id']}").json()["position"] == 0
    for job in (second, first, first):
        assert client.delete(f"/jobs/{job['id']}").status_code == 200
    for job in (first, second):
        assert _ended(client, job["id"])["state"] == "cancelled"
    assert client.delete(f"/jobs/{first['id']}").json()["state"] == "cancelled"
    assert _ended(client, client.post("/jobs", json=STAR).json()["id"])["state"] == "done"


def test_what_is_not_known_is_said(client: TestClient) -> None:
    for answer in (
        client.get("/jobs/gone"),
        client.delete("/jobs/gone"),
        client.get("/jobs/gone/events"),
        client.get("/images/gone"),
    ):
        assert answer.status_code == 404
        assert "'gone' is known here" in answer.json()["detail"]


def test_an_adapter_that_does_not_fit_fails_the_job_and_says_why(client: TestClient, models: Path) -> None:
    strong = load_file(models / "lora" / "strong" / "strong.safetensors")
    file = models / "lora" / "other" / "other.safetensors"
    file.parent.mkdir(exist_ok=True)
    safetensors_file.write({name: value.repeat(2, 2) if value.dim() == 2 else value for name, value in strong.items()}, {}, file)
    failed = _ended(client, client.post("/jobs", json={**STAR, "loras": [{"id": "other"}]}).json()["id"])
    assert failed["state"] == "failed"
    assert failed["error"].startswith("lora/other/other.safetensors: an adapter for another base")


def test_a_job_that_has_ended_stays_as_it_is(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for job in ("done", "stopped"):
        store.add(job, {})
    store.finish("done", {"steps": 1}, [], [ImageRow(id="a", job="done", place=0, seed="1", file="a.png")])
    store.end("done", "cancelled")
    store.end("stopped", "cancelled")
    store.finish("stopped", {"steps": 1}, [], [ImageRow(id="b", job="stopped", place=0, seed="1", file="b.png")])
    rows = [store.job(job) for job in ("done", "stopped")]
    assert [row.state for row in rows if row] == ["done", "cancelled"]
    assert ([image.id for image in store.images("done")], store.images("stopped")) == (["a"], [])
    store.close()


def test_jobs_of_a_server_that_was_killed_are_generated_by_the_next(models: Path, tmp_path: Path) -> None:
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
        for _ in range(600):
            try:
                if requests.get(f"{base}/health/ready", timeout=1).ok:
                    break
            except requests.RequestException:
                assert process.poll() is None
            time.sleep(0.1)
        long, unseeded = (requests.post(f"{base}/jobs", json=each, timeout=10).json() for each in (LONG, {**STAR, "seed": None}))
        requests.delete(f"{base}/jobs/{long['id']}", timeout=10)
        short = requests.post(f"{base}/jobs", json={**LONG, "steps": 10}, timeout=10).json()
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    with started(settings(models, data_folder=tmp_path / "data")) as client:
        assert _ended(client, unseeded["id"])["state"] == "done"
        assert len(_ended(client, short["id"])["images"]) == 4
        assert client.get(f"/jobs/{long['id']}").json()["state"] == "cancelled"
        with pytest.raises(BadInput, match="another server keeps its jobs here"):
            create_app(settings(models, data_folder=tmp_path / "data"))


def test_a_server_that_ends_leaves_what_has_not_begun_to_the_next(models: Path, tmp_path: Path) -> None:
    own = settings(models, data_folder=tmp_path / "data", queue_room=150)
    with started(own) as client:
        jobs = [client.post("/jobs", json={**STAR, "steps": steps}).json()["id"] for steps in (60, 70, 80)]
        while client.get(f"/jobs/{jobs[0]}").json()["state"] == "queued":
            time.sleep(0.02)
    store = Store(tmp_path / "data")
    left = [row.id for row in store.open_jobs()]
    store.close()
    assert left == jobs[1:]
    # Taken up again whatever room there is: they were accepted.
    with started(settings(models, data_folder=tmp_path / "data", queue_room=100)) as client:
        assert [_ended(client, job)["state"] for job in jobs] == ["done"] * 3


def test_a_follower_does_not_keep_a_server_from_ending(models: Path, tmp_path: Path) -> None:
    with started(settings(models, data_folder=tmp_path / "data")) as client:
        jobs = [client.post("/jobs", json=each).json()["id"] for each in (LONG, LONG)]
        service_jobs = client.app.state.jobs  # type: ignore[attr-defined]
        with client.stream("GET", f"/jobs/{jobs[1]}/events") as events:
            lines = events.iter_lines()
            assert next(lines) == "event: queued"
            service_jobs.drain()
            client.delete(f"/jobs/{jobs[0]}")
            assert all("done" not in line for line in lines)
