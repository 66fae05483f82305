"""Tools that speak A1111's API simply work, and are told what means nothing here."""

import base64
import io
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import uvicorn
import webuiapi
from fastapi.testclient import TestClient
from PIL import Image

from tests.zthumb.server.conftest import pixels, settings
from zthumb.server.app import create_app

pytestmark = pytest.mark.slow

ASKED = {
    "prompt": "a photo of a (red:1.2) star <lora:strong:0.5>",
    "steps": 2,
    "seed": 5,
    "cfg_scale": 5,
    "width": 64,
    "height": 64,
}


@pytest.fixture(scope="module")
def port(models: Path) -> Iterator[int]:
    """A server that listens, for a client that brings its own connection."""
    server = uvicorn.Server(uvicorn.Config(create_app(settings(models)), port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    port: int = server.servers[0].sockets[0].getsockname()[1]
    while not requests.get(f"http://127.0.0.1:{port}/health/ready", timeout=10).ok:
        time.sleep(0.2)
    yield port
    server.should_exit = True
    thread.join(30)


def test_webuiapi_makes_the_image_that_generate_makes(port: int) -> None:
    made = webuiapi.WebUIApi(port=port).txt2img(**ASKED, sampler_name="Euler", batch_size=2)

    ours = requests.post(
        f"http://127.0.0.1:{port}/generate",
        json={
            "prompt": "a photo of a (red:1.2) star",
            "loras": [{"id": "strong", "weight": 0.5}],
            "prompt_parser": "lpw",
            "scheduler": "euler",
            "batch": 2,
            **{name: ASKED[name] for name in ("steps", "seed", "width", "height")},
            "cfg": 5,
        },
        timeout=60,
    ).json()
    for image, other in zip(made.images, ours["images"], strict=True):
        theirs = Image.open(io.BytesIO(base64.b64decode(other["b64_json"])))
        assert np.array_equal(np.asarray(image), np.asarray(theirs))
    assert (made.info["all_seeds"], made.info["sampler_name"], made.info["warnings"]) == ([5, 6], "Euler", [])
    assert "Steps: 2, Sampler: Euler" in made.images[0].info["parameters"]
    assert "<lora:strong:0.5>" in made.images[0].info["parameters"]


def test_what_clients_look_for_is_there(port: int) -> None:
    api = webuiapi.WebUIApi(port=port)

    assert [each["name"] for each in api.get_loras()] == ["strong"]
    (model,) = api.get_sd_models()
    assert api.get_options()["sd_model_checkpoint"] == model["title"]
    api.set_options({"sd_model_checkpoint": model["title"]})
    assert api.get_progress()["progress"] == 0
    assert "Euler a" in [each["name"] for each in api.get_samplers()]
    assert "karras" in [each["name"] for each in api.get_schedulers()]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"enable_hr": True}, "enable_hr: True means nothing here"),
        ({"subseed_strength": 0.5}, "subseed_strength"),
        ({"alwayson_scripts": {"adetailer": {}}}, "alwayson_scripts"),
        ({"override_settings": {"sd_model_checkpoint": "other"}}, "'other' is not served here"),
        ({"negative_promt": "blurry"}, "Did you mean 'negative_prompt'?"),
    ],
)
def test_what_would_change_an_image_of_a1111_and_changes_none_here_is_told(
    client: TestClient, fields: dict[str, Any], told: str
) -> None:
    answer = client.post("/sdapi/v1/txt2img", json={**ASKED, **fields})

    assert answer.status_code == 200, answer.text
    assert told in answer.json()["info"]


def test_what_cannot_be_done_is_refused(client: TestClient) -> None:
    unknown = client.post("/sdapi/v1/txt2img", json={**ASKED, "sampler_name": "DPM++ SDE"})
    many = client.post("/sdapi/v1/txt2img", json={**ASKED, "batch_size": 5, "n_iter": 5})
    other = client.post("/sdapi/v1/options", json={"sd_model_checkpoint": "other"})

    assert (unknown.status_code, many.status_code, other.status_code) == (422, 422, 422)
    assert "sampler_name: 'DPM++ SDE' is not here" in unknown.json()["detail"]


def test_a_seed_of_minus_one_is_drawn_and_told(client: TestClient) -> None:
    first, second = (client.post("/sdapi/v1/txt2img", json={**ASKED, "seed": -1}).json() for _ in range(2))

    assert first["info"] != second["info"]


def test_the_image_of_generate_is_read_back_by_png_info(client: TestClient) -> None:
    made = client.post("/generate", json={"prompt": "a red star", "steps": 2, "seed": 5, "width": 64, "height": 64})
    pixels(made)

    told = client.post("/sdapi/v1/png-info", json={"image": made.json()["images"][0]["b64_json"]}).json()

    assert told["parameters"]["Seed"] == "5"
    assert told["info"].startswith("a red star")


def test_images_that_are_not_sent_are_not_made(client: TestClient) -> None:
    answer = client.post("/sdapi/v1/txt2img", json={**ASKED, "send_images": False, "save_images": True})

    assert answer.status_code == 422
    assert "send_images" in answer.json()["detail"]
