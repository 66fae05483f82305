"""The gallery over HTTP: pages, filters, small versions, ratings, and deletion that can be undone."""

import io
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tests.zthumb.server.conftest import settings, started

pytestmark = pytest.mark.slow

COLOURS = ("red", "blue", "green", "white", "black")


@pytest.fixture(scope="module")
def images(client: TestClient) -> list[str]:
    """The ids of five images, the oldest first; the last one has an adapter."""
    found = []
    for index, colour in enumerate(COLOURS):
        loras = [{"id": "strong", "weight": 0.5}] if index == 4 else []
        body = {"prompt": f"a {colour} star", "steps": 2, "seed": index, "response_format": "url", "loras": loras}
        found.append(client.post("/generate", json=body).json()["images"][0]["url"].rpartition("/")[2])
    return found


def _page(client: TestClient, **filters: Any) -> list[str]:
    return [image["id"] for image in client.get("/images", params=filters).json()["images"]]


def test_pages_follow_one_another_without_gaps(client: TestClient, images: list[str]) -> None:
    first = client.get("/images", params={"limit": 2}).json()
    assert [image["id"] for image in first["images"]] == images[:2:-1]
    # An image that comes in between moves nothing.
    client.post("/generate", json={"prompt": "a ring", "steps": 2, "response_format": "url"})
    second = client.get("/images", params={"limit": 2, "before": first["next"]}).json()
    assert [image["id"] for image in second["images"]] == images[2:0:-1]


def test_images_are_found_by_prompt_adapter_and_rating(client: TestClient, images: list[str]) -> None:
    assert _page(client, text="BLUE") == [images[1]]
    assert _page(client, text="100%") == []
    (adapted,) = client.get("/images", params={"text": "black star"}).json()["images"]
    assert _page(client, adapter=adapted["adapters"][0][:12]) == [images[4]]
    assert client.patch(f"/images/{images[2]}", json={"rating": 4}).status_code == 204
    assert _page(client, rating=4) == [images[2]]
    assert client.patch(f"/images/{images[2]}", json={"rating": 6}).status_code == 422


def test_a_deleted_image_comes_back(client: TestClient, images: list[str]) -> None:
    assert client.delete(f"/images/{images[0]}").status_code == 204
    assert images[0] not in _page(client, limit=200)
    assert client.post(f"/images/{images[0]}/restore").status_code == 204
    assert images[0] in _page(client, limit=200)
    assert client.delete("/images/nothing").status_code == 404


def test_a_small_version_is_smaller_and_kept(client: TestClient, images: list[str]) -> None:
    response = client.get(f"/images/{images[0]}/thumbnail", params={"edge": 192})
    assert "immutable" in response.headers["cache-control"]
    with Image.open(io.BytesIO(response.content)) as small:
        assert small.format == "WEBP"
        # Never larger than the image.
        assert small.size == (128, 128)
    assert client.get(f"/images/{images[0]}/thumbnail", params={"edge": 100}).status_code == 422


def test_parameters_have_the_seed_as_text(client: TestClient) -> None:
    seed = 2**62 + 1
    body = client.post("/generate", json={"prompt": "a star", "steps": 2, "seed": seed, "response_format": "url"}).json()
    image = body["images"][0]["url"]
    assert client.get(f"{image}/parameters").json()["parameters"]["seed"] == str(seed)


def test_images_from_before_there_was_an_index_are_found_and_old_deletions_removed(models: Path) -> None:
    chosen = settings(models)
    with started(chosen) as client:
        body = {"prompt": "an old star", "steps": 2, "response_format": "url", "batch": 2}
        kept, deleted = (image["url"].rpartition("/")[2] for image in client.post("/generate", json=body).json()["images"])
        client.get(f"/images/{deleted}/thumbnail")
    with sqlite3.connect(chosen.data_folder / "zthumb.sqlite3") as database:
        database.execute("DELETE FROM gallery")
    with started(chosen) as client:
        assert _page(client, text="an old star") == [deleted, kept]
        client.delete(f"/images/{deleted}")
        (file,) = client.app.state.jobs.gallery.index.purge(timedelta(0))
        assert deleted in file
        assert _page(client) == [kept]
