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


def test_the_openai_client_gets_its_pictures(client: TestClient, client_of_others: openai.OpenAI) -> None:
    found = client_of_others.images.generate(
        prompt=PROMPT, model="mini-sdxl", n=2, size="auto", response_format="b64_json", extra_body=QUICK
    )
    assert found.created > 1_700_000_000
    assert found.data is not None
    ours = client.post("/generate", json={"prompt": PROMPT, "batch": 2, **QUICK})
    for place, image in enumerate(found.data):
        assert image.b64_json is not None
        assert np.array_equal(_opened(image.b64_json), pixels(ours, place))


def test_sizes_formats_and_data_urls(client_of_others: openai.OpenAI) -> None:
    found = client_of_others.images.generate(
        prompt=PROMPT,
        size="64x128",
        response_format="url",
        output_format="webp",
        extra_body=QUICK,  # type: ignore[call-overload]
    )
    assert found.output_format == "webp"
    (image,) = found.data
    kind, data = image.url.split(";base64,")
    assert kind == "data:image/webp"
    assert _opened(data).shape == (128, 64, 3)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"model": "dall-e-3"}, "'dall-e-3' is not served here"),
        ({"size": "100x100"}, "multiples of 8"),
        ({"size": "large"}, "neither auto nor"),
        ({"n": 11}, "n: "),
        ({"quality": "hd"}, "quality: "),
        ({"style": "vivid"}, "style: "),
    ],
)
def test_what_cannot_be_done_is_said_in_the_way_the_client_reads(
    client_of_others: openai.OpenAI, fields: dict[str, Any], named: str
) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as refusal:
        client_of_others.images.generate(prompt=PROMPT, **fields)
    assert named in refusal.value.body["message"]  # type: ignore[index]


def test_a_picture_as_a_data_url(client: TestClient) -> None:
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
