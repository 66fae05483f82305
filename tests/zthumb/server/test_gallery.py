"""Images that are kept, and what a job looks like so far, over HTTP."""

import base64
import errno
import io
import os
import time
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tests.zthumb.server.conftest import pixels
from zthumb.server import gallery

STAR = {"prompt": "a photo of a red star on a blue background", "seed": 5, "steps": 3, "batch": 2}


def test_images_by_address(client: TestClient) -> None:
    told = client.post("/generate", json={**STAR, "response_format": "url"}).json()
    assert [image["seed"] for image in told["images"]] == [5, 6]
    assert all(image["b64_json"] is None and image["path"] is None for image in told["images"])
    whole = client.post("/generate", json=STAR)
    for place, image in enumerate(told["images"]):
        data = client.get(image["url"]).content
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), pixels(whole, place))
        assert client.post("/images/inspect", content=data).json()["parameters"]["seed"] == image["seed"]


def test_images_by_path(client: TestClient) -> None:
    told = client.post("/generate", json={**STAR, "response_format": "path", "output_format": "webp"}).json()
    with Image.open(told["images"][1]["path"]) as image:
        assert image.format == "WEBP"
        assert image.size == (128, 128)


def test_a_image_that_is_not_kept_is_not_known(client: TestClient) -> None:
    for name in ("nothing", "..%2f..%2fzthumb.sqlite3", "%00"):
        assert client.get(f"/images/{name}").status_code == 404


def test_what_cannot_be_kept_is_told(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(gallery, "atomic_file", full)
    answer = client.post("/generate", json={**STAR, "response_format": "url"})
    assert answer.status_code == 500
    assert answer.json()["detail"] == "an image was made and cannot be kept: No space left on device."
    # And nothing is left to be generated again when the server starts anew.
    assert client.app.state.store.open_jobs() == []


def test_a_image_whose_file_is_gone_is_not_known(client: TestClient) -> None:
    told = client.post("/generate", json={**STAR, "batch": 1, "response_format": "url"}).json()
    name = told["images"][0]["url"].rpartition("/")[2]
    client.app.state.jobs.gallery.path(name).unlink()
    assert client.get(f"/images/{name}").status_code == 404


@pytest.mark.slow
def test_a_job_shows_what_it_looks_like_so_far(client: TestClient) -> None:
    job = client.post("/jobs", json={**STAR, "steps": 100, "batch": 1}).json()["id"]
    seen = []
    for _ in range(600):
        now = client.get(f"/jobs/{job}").json()
        if now["preview"] and now["progress"] > 0.6:
            seen.append(now["preview"])
        if now["state"] == "done":
            break
        time.sleep(0.02)
    assert now["preview"] is None
    header, _, data = seen[-1].partition(",")
    assert header == "data:image/png;base64"
    sketch = np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))).astype(int)
    assert sketch.shape == (16, 16, 3)
    ground = sketch[0, :].mean(axis=0)
    assert ground[2] > ground[0]


def test_what_is_written_stays_in_the_data_folder(client: TestClient) -> None:
    told = client.post("/generate", json={**STAR, "batch": 1, "response_format": "path"}).json()
    assert Path(told["images"][0]["path"]).is_relative_to(client.app.state.store.folder)


def test_a_job_tells_addresses_and_refuses_another_form(client: TestClient) -> None:
    answers = [client.post("/jobs", json={**STAR, "response_format": form}).status_code for form in ("url", "path", "b64_json")]
    assert answers == [202, 422, 422]
