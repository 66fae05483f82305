"""Adapter tags in a prompt are applied or refused; they are never encoded as words."""

import numpy as np
import pytest
from fastapi.testclient import TestClient

from tests.zthumb.server.conftest import pixels

pytestmark = pytest.mark.slow

REQUEST = {"prompt": "a photo of a red star", "steps": 2, "seed": 5, "deterministic": True}


@pytest.mark.parametrize("parser", ["plain", "lpw", "compel"])
def test_an_adapter_in_the_prompt_works_like_one_in_the_loras_field(client: TestClient, parser: str) -> None:
    in_field = client.post("/generate", json={**REQUEST, "prompt_parser": parser, "loras": [{"id": "strong", "weight": 0.5}]})
    in_prompt = client.post(
        "/generate", json={**REQUEST, "prompt_parser": parser, "prompt": "a photo of a red star <lora:Strong:0.5>"}
    )

    assert np.array_equal(pixels(in_prompt), pixels(in_field))
    assert in_prompt.json()["meta"]["loras"] == in_field.json()["meta"]["loras"]
    sha256 = in_prompt.json()["meta"]["loras"][0]["sha256"]
    by_hash = client.post("/generate", json={**REQUEST, "prompt": f"a photo of a red star <lora:{sha256[:10]}:0.5>"})
    assert by_hash.json()["meta"]["loras"] == in_field.json()["meta"]["loras"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"prompt": "a <lora:stron:1>"}, "prompt: at character 3: no adapter is called 'stron'. Did you mean 'strong'"),
        ({"prompt": "a <hypernet:x:1>"}, "hypernetwork"),
        ({"prompt": "a <lora:strong:1>", "loras": [{"id": "strong"}]}, "names one adapter twice"),
        ({"prompt": "a <lora:strong:1000>"}, "a weight must be -100 to 100"),
        ({"prompt": "a", "negative_prompt": "<lora:strong:1>"}, "negative_prompt: at character 1"),
        ({"prompt": "a AND b", "prompt_parser": "lpw", "cfg": 1}, "AND needs guidance"),
        ({"prompt": "a star AND a (ring:200)", "prompt_parser": "lpw"}, "prompt: in 'a (ring:200)' at character 9: a weight is"),
    ],
)
def test_an_invalid_adapter_or_mark_is_refused_with_its_position(
    client: TestClient, fields: dict[str, object], message: str
) -> None:
    response = client.post("/generate", json={**REQUEST, **fields})

    assert response.status_code == 422
    assert message in response.json()["detail"]


@pytest.mark.parametrize(
    ("parser", "prompt", "message"),
    [
        ("lpw", "a red++ star", "'red++' at character 3 means nothing to prompt_parser lpw"),
        ("plain", "a (red:1.3) star", "means nothing to prompt_parser plain and is read as words; lpw reads it"),
        ("compel", "a [red:green:0.5] star", "means nothing to prompt_parser compel"),
    ],
)
def test_marks_of_another_parsers_syntax_give_a_warning(client: TestClient, parser: str, prompt: str, message: str) -> None:
    response = client.post("/generate", json={**REQUEST, "prompt": prompt, "prompt_parser": parser})

    assert any(message in warning for warning in response.json()["warnings"])


def test_weights_of_sliders_give_a_warning_and_every_reported_seed_is_accepted(client: TestClient) -> None:
    high_weight = client.post("/generate", json={**REQUEST, "loras": [{"id": "strong", "weight": 2.5}]}).json()
    random_seed = client.post("/generate", json={**REQUEST, "seed": -1}).json()
    last_seed = client.post("/generate", json={**REQUEST, "seed": 2**63 - 1, "batch": 2}).json()["images"][-1]["seed"]

    assert "has weight 2.5" in high_weight["warnings"][0]
    assert random_seed["images"][0]["seed"] >= 0
    assert client.post("/generate", json={**REQUEST, "seed": last_seed}).status_code == 200
