"""Stored images and the preview of a job, over HTTP."""

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
from zthumb.server.storage import gallery

REQUEST = {"prompt": "a photo of a red star on a blue background", "seed": 5, "steps": 3, "batch": 2}


def test_images_by_url(client: TestClient) -> None:
    body = client.post("/generate", json={**REQUEST, "response_format": "url"}).json()
    assert [image["seed"] for image in body["images"]] == [5, 6]
    assert all(image["b64_json"] is None and image["path"] is None for image in body["images"])
    with_images = client.post("/generate", json=REQUEST)
    for index, image in enumerate(body["images"]):
        data = client.get(image["url"]).content
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), pixels(with_images, index))
        assert client.post("/images/inspect", content=data).json()["parameters"]["seed"] == image["seed"]


def test_images_by_path(client: TestClient) -> None:
    body = client.post("/generate", json={**REQUEST, "response_format": "path", "output_format": "webp"}).json()
    with Image.open(body["images"][1]["path"]) as image:
        assert image.format == "WEBP"
        assert image.size == (128, 128)


def test_an_unknown_image_is_not_found(client: TestClient) -> None:
    for name in ("nothing", "..%2f..%2fzthumb.sqlite3", "%00"):
        assert client.get(f"/images/{name}").status_code == 404


def test_an_image_that_cannot_be_saved_is_an_error(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(gallery, "atomic_file", fail)
    response = client.post("/generate", json={**REQUEST, "response_format": "url"})
    assert response.status_code == 500
    assert response.json()["detail"] == "an image was generated but cannot be saved: No space left on device."
    # No job stays open, which would be generated again at the next start of the server.
    assert client.app.state.store.open_jobs() == []


def test_an_image_whose_file_was_deleted_is_not_found(client: TestClient) -> None:
    body = client.post("/generate", json={**REQUEST, "batch": 1, "response_format": "url"}).json()
    image_id = body["images"][0]["url"].rpartition("/")[2]
    client.app.state.jobs.gallery.path(image_id).unlink()
    assert client.get(f"/images/{image_id}").status_code == 404


@pytest.mark.slow
def test_a_running_job_has_a_preview(client: TestClient) -> None:
    job = client.post("/jobs", json={**REQUEST, "steps": 100, "batch": 1}).json()["id"]
    previews = []
    for _ in range(3000):
        status = client.get(f"/jobs/{job}").json()
        if status["preview"] and status["progress"] > 0.6:
            previews.append(status["preview"])
        if status["state"] == "done":
            break
        time.sleep(0.02)
    assert status["preview"] is None
    header, _, data = previews[-1].partition(",")
    assert header == "data:image/png;base64"
    preview = np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))).astype(int)
    assert preview.shape == (16, 16, 3)
    background = preview[0, :].mean(axis=0)
    assert background[2] > background[0]


def test_images_are_written_into_the_data_folder(client: TestClient) -> None:
    body = client.post("/generate", json={**REQUEST, "batch": 1, "response_format": "path"}).json()
    assert Path(body["images"][0]["path"]).is_relative_to(client.app.state.store.folder)


def test_a_job_accepts_only_urls_as_response_format(client: TestClient) -> None:
    formats = ("url", "path", "b64_json")
    statuses = [client.post("/jobs", json={**REQUEST, "response_format": name}).status_code for name in formats]
    assert statuses == [202, 422, 422]
