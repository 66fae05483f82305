"""Clients of other services work unchanged: the official OpenAI client, and those that need a data URL."""

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
def openai_client(client: TestClient) -> openai.OpenAI:
    return openai.OpenAI(base_url="http://127.0.0.1:8000/v1", api_key="none", http_client=client, max_retries=0)


def _decoded(data: str) -> Any:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def test_the_openai_client_gets_the_same_images_as_generate(client: TestClient, openai_client: openai.OpenAI) -> None:
    result = openai_client.images.generate(
        prompt=PROMPT, model="mini-sdxl", n=2, size="auto", response_format="b64_json", extra_body=QUICK
    )
    assert result.created > 1_700_000_000
    assert result.data is not None
    expected = client.post("/generate", json={"prompt": PROMPT, "batch": 2, **QUICK})
    for index, image in enumerate(result.data):
        assert image.b64_json is not None
        assert np.array_equal(_decoded(image.b64_json), pixels(expected, index))


def test_the_openai_client_gets_size_format_and_a_url_that_works(client: TestClient, openai_client: openai.OpenAI) -> None:
    result = openai_client.images.generate(
        prompt=PROMPT,
        size="64x128",
        response_format="url",
        output_format="webp",
        extra_body=QUICK,  # type: ignore[call-overload]
    )
    assert result.output_format == "webp"
    (image,) = result.data
    assert image.url.startswith("http://127.0.0.1:8000/images/")
    file = client.get(image.url)
    assert file.headers["content-type"] == "image/webp"
    assert np.asarray(Image.open(io.BytesIO(file.content))).shape == (128, 64, 3)


@pytest.mark.parametrize(
    ("fields", "expected_warnings"),
    [
        ({"quality": "hd", "style": "vivid"}, ["quality: 'hd'", "style: 'vivid'"]),
        ({"quality": "standard", "moderation": "low", "size": "", "user": "x", "stream": False}, []),
        ({"output_compression": 80, "output_format": "jpeg"}, ["output_compression: 80"]),
        ({"background": "transparent"}, ["background: 'transparent'"]),
        ({"model": "gpt-image-1"}, ["'gpt-image-1' is not served here", "The base was used instead"]),
        ({"stepz": 3}, ["stepz: unknown field, ignored. Did you mean 'steps'?"]),
    ],
)
def test_fields_without_effect_are_accepted_with_warnings(
    client: TestClient, fields: dict[str, Any], expected_warnings: list[str]
) -> None:
    response = client.post("/v1/images/generations", json={"prompt": PROMPT, "size": "64x64", **QUICK, **fields})

    assert response.status_code == 200, response.text
    warnings = " ".join(response.json()["warnings"])
    assert all(expected in warnings for expected in expected_warnings)
    assert bool(warnings) == bool(expected_warnings)


def test_dall_e_clients_without_a_response_format_get_a_url_as_well(openai_client: openai.OpenAI) -> None:
    result = openai_client.images.generate(prompt=PROMPT, model="dall-e-3", extra_body=QUICK)

    assert result.data is not None
    assert result.data[0].url
    assert result.data[0].b64_json


def test_the_models_are_listed(openai_client: openai.OpenAI) -> None:
    assert {"mini-sdxl", "auto", "full"} <= {model.id for model in openai_client.models.list()}


@pytest.mark.parametrize(
    ("fields", "param", "message"),
    [
        ({"size": "100x100"}, "size", "multiples of 8"),
        ({"size": "large"}, "size", "neither auto nor"),
        ({"n": 11}, "n", "n: "),
        ({"extra_body": {"stream": True}}, "stream", "stream: streaming is not supported"),
    ],
)
def test_errors_have_the_form_that_the_openai_client_reads(
    openai_client: openai.OpenAI, fields: dict[str, Any], param: str, message: str
) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as refusal:
        openai_client.images.generate(prompt=PROMPT, **fields)
    assert isinstance(refusal.value.body, dict)
    assert message in refusal.value.body["message"]
    assert refusal.value.param == param
    assert refusal.value.code == "invalid_value"
    assert refusal.value.request_id


def test_an_image_as_a_data_url(client: TestClient) -> None:
    request = {"prompt": PROMPT, "num_inference_steps": 2, "seed": 4, "guidance_scale": 5.0}
    body = client.post("/api/v1/images/generate", json=request).json()
    data = body.pop("image_url").removeprefix("data:image/png;base64,")
    expected = client.post("/generate", json={"prompt": PROMPT, **QUICK})
    assert np.array_equal(_decoded(data), pixels(expected))
    assert body == {
        "model": client.get("/models").json()["base"],
        "width": 128,
        "height": 128,
        "seed": 4,
        "num_inference_steps": 2,
    }
