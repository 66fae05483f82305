"""Tools that use A1111's API work unchanged, and get a warning for every field that has no effect."""

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

REQUEST = {
    "prompt": "a photo of a (red:1.2) star <lora:strong:0.5>",
    "steps": 2,
    "seed": 5,
    "cfg_scale": 5,
    "width": 64,
    "height": 64,
}


@pytest.fixture(scope="module")
def port(models: Path) -> Iterator[int]:
    """The port of a server that listens, for a client that opens its own connections."""
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


def test_webuiapi_gets_the_same_image_as_generate(port: int) -> None:
    result = webuiapi.WebUIApi(port=port).txt2img(**REQUEST, sampler_name="Euler", batch_size=2)

    expected = requests.post(
        f"http://127.0.0.1:{port}/generate",
        json={
            "prompt": "a photo of a (red:1.2) star",
            "loras": [{"id": "strong", "weight": 0.5}],
            "prompt_parser": "lpw",
            "scheduler": "euler",
            "batch": 2,
            **{name: REQUEST[name] for name in ("steps", "seed", "width", "height")},
            "cfg": 5,
        },
        timeout=240,
    ).json()
    for image, expected_image in zip(result.images, expected["images"], strict=True):
        decoded = Image.open(io.BytesIO(base64.b64decode(expected_image["b64_json"])))
        assert np.array_equal(np.asarray(image), np.asarray(decoded))
    assert (result.info["all_seeds"], result.info["sampler_name"], result.info["warnings"]) == ([5, 6], "Euler", [])
    assert "Steps: 2, Sampler: Euler" in result.images[0].info["parameters"]
    assert "<lora:strong:0.5>" in result.images[0].info["parameters"]


def test_lists_options_and_progress_that_clients_query_are_available(port: int) -> None:
    api = webuiapi.WebUIApi(port=port)

    assert [lora["name"] for lora in api.get_loras()] == ["strong"]
    (model,) = api.get_sd_models()
    assert api.get_options()["sd_model_checkpoint"] == model["title"]
    api.set_options({"sd_model_checkpoint": model["title"]})
    assert api.get_progress()["progress"] == 0
    assert "Euler a" in [sampler["name"] for sampler in api.get_samplers()]
    assert "karras" in [scheduler["name"] for scheduler in api.get_schedulers()]


@pytest.mark.parametrize(
    ("fields", "warning"),
    [
        ({"enable_hr": True}, "enable_hr: True has no effect"),
        ({"subseed_strength": 0.5}, "subseed_strength"),
        ({"alwayson_scripts": {"adetailer": {}}}, "alwayson_scripts"),
        ({"override_settings": {"sd_model_checkpoint": "other"}}, "'other' is not served here"),
        ({"negative_promt": "blurry"}, "Did you mean 'negative_prompt'?"),
    ],
)
def test_a_field_that_would_change_a1111s_image_but_has_no_effect_gives_a_warning(
    client: TestClient, fields: dict[str, Any], warning: str
) -> None:
    response = client.post("/sdapi/v1/txt2img", json={**REQUEST, **fields})

    assert response.status_code == 200, response.text
    assert warning in response.json()["info"]


def test_unknown_samplers_too_many_images_and_other_models_are_refused(client: TestClient) -> None:
    unknown_sampler = client.post("/sdapi/v1/txt2img", json={**REQUEST, "sampler_name": "DPM++ SDE"})
    too_many = client.post("/sdapi/v1/txt2img", json={**REQUEST, "batch_size": 5, "n_iter": 5})
    other_model = client.post("/sdapi/v1/options", json={"sd_model_checkpoint": "other"})

    assert (unknown_sampler.status_code, too_many.status_code, other_model.status_code) == (422, 422, 422)
    assert "sampler_name: 'DPM++ SDE' is not supported" in unknown_sampler.json()["detail"]


def test_a_seed_of_minus_one_is_drawn_at_random_and_reported(client: TestClient) -> None:
    first, second = (client.post("/sdapi/v1/txt2img", json={**REQUEST, "seed": -1}).json() for _ in range(2))

    assert first["info"] != second["info"]


def test_png_info_reads_the_parameters_of_an_image_from_generate(client: TestClient) -> None:
    generated = client.post("/generate", json={"prompt": "a red star", "steps": 2, "seed": 5, "width": 64, "height": 64})
    pixels(generated)

    png_info = client.post("/sdapi/v1/png-info", json={"image": generated.json()["images"][0]["b64_json"]}).json()

    assert png_info["parameters"]["Seed"] == "5"
    assert png_info["info"].startswith("a red star")


def test_a_request_without_images_in_the_response_is_refused(client: TestClient) -> None:
    response = client.post("/sdapi/v1/txt2img", json={**REQUEST, "send_images": False, "save_images": True})

    assert response.status_code == 422
    assert "send_images" in response.json()["detail"]
