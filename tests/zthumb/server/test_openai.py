"""Clients that were written for others simply work: the official OpenAI client, and those that want a data URL."""

import base64
import io
from typing import Any

import numpy as np
import openai
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tests.zthumb.server.conftest import pixels

pytestmark = pytest.mark.slow

PROMPT = "a photo of a red star"
QUICK = {"steps": 2, "seed": 4, "deterministic": True}


@pytest.fixture
def client_of_others(client: TestClient) -> openai.OpenAI:
    return openai.OpenAI(base_url="http://127.0.0.1:8000/v1", api_key="none", http_client=client, max_retries=0)


def _opened(data: str) -> Any:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def test_the_openai_client_gets_its_images(client: TestClient, client_of_others: openai.OpenAI) -> None:
    found = client_of_others.images.generate(
        prompt=PROMPT, model="mini-sdxl", n=2, size="auto", response_format="b64_json", extra_body=QUICK
    )
    assert found.created > 1_700_000_000
    assert found.data is not None
    ours = client.post("/generate", json={"prompt": PROMPT, "batch": 2, **QUICK})
    for place, image in enumerate(found.data):
        assert image.b64_json is not None
        assert np.array_equal(_opened(image.b64_json), pixels(ours, place))


def test_sizes_formats_and_addresses_that_can_be_fetched(client: TestClient, client_of_others: openai.OpenAI) -> None:
    found = client_of_others.images.generate(
        prompt=PROMPT,
        size="64x128",
        response_format="url",
        output_format="webp",
        extra_body=QUICK,  # type: ignore[call-overload]
    )
    assert found.output_format == "webp"
    (image,) = found.data
    assert image.url.startswith("http://127.0.0.1:8000/images/")
    fetched = client.get(image.url)
    assert fetched.headers["content-type"] == "image/webp"
    assert np.asarray(Image.open(io.BytesIO(fetched.content))).shape == (128, 64, 3)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"quality": "hd", "style": "vivid"}, ["quality: 'hd'", "style: 'vivid'"]),
        ({"quality": "standard", "moderation": "low", "size": "", "user": "x", "stream": False}, []),
        ({"output_compression": 80, "output_format": "jpeg"}, ["output_compression: 80"]),
        ({"background": "transparent"}, ["background: 'transparent'"]),
        ({"model": "gpt-image-1"}, ["'gpt-image-1' is not served here", "The base made the images"]),
        ({"stepz": 3}, ["stepz: is no field here and was passed over. Did you mean 'steps'?"]),
    ],
)
def test_what_means_nothing_here_is_taken_and_told(client: TestClient, fields: dict[str, Any], told: list[str]) -> None:
    answer = client.post("/v1/images/generations", json={"prompt": PROMPT, "size": "64x64", **QUICK, **fields})

    assert answer.status_code == 200, answer.text
    warnings = " ".join(answer.json()["warnings"])
    assert all(each in warnings for each in told)
    assert bool(warnings) == bool(told)


def test_clients_of_dall_e_get_an_address_where_they_ask_for_no_form(client_of_others: openai.OpenAI) -> None:
    found = client_of_others.images.generate(prompt=PROMPT, model="dall-e-3", extra_body=QUICK)

    assert found.data is not None
    assert found.data[0].url
    assert found.data[0].b64_json


def test_the_models_are_listed(client_of_others: openai.OpenAI) -> None:
    assert {"mini-sdxl", "auto", "full"} <= {model.id for model in client_of_others.models.list()}


@pytest.mark.parametrize(
    ("fields", "param", "named"),
    [
        ({"size": "100x100"}, "size", "multiples of 8"),
        ({"size": "large"}, "size", "neither auto nor"),
        ({"n": 11}, "n", "n: "),
        ({"extra_body": {"stream": True}}, "stream", "stream: images are answered whole"),
    ],
)
def test_what_cannot_be_done_is_said_in_the_way_the_client_reads(
    client_of_others: openai.OpenAI, fields: dict[str, Any], param: str, named: str
) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as refusal:
        client_of_others.images.generate(prompt=PROMPT, **fields)
    assert isinstance(refusal.value.body, dict)
    assert named in refusal.value.body["message"]
    assert refusal.value.param == param
    assert refusal.value.code == "invalid_value"
    assert refusal.value.request_id


def test_a_image_as_a_data_url(client: TestClient) -> None:
    asked = {"prompt": PROMPT, "num_inference_steps": 2, "seed": 4, "guidance_scale": 5.0}
    found = client.post("/api/v1/images/generate", json=asked).json()
    data = found.pop("image_url").removeprefix("data:image/png;base64,")
    ours = client.post("/generate", json={"prompt": PROMPT, **QUICK})
    assert np.array_equal(_opened(data), pixels(ours))
    assert found == {
        "model": client.get("/models").json()["base"],
        "width": 128,
        "height": 128,
        "seed": 4,
        "num_inference_steps": 2,
    }
