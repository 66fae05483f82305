"""What a prompt names is put on, or told of; it is never generated as words."""

import numpy as np
import pytest
from fastapi.testclient import TestClient

from tests.zthumb.server.conftest import pixels

pytestmark = pytest.mark.slow

ASKED = {"prompt": "a photo of a red star", "steps": 2, "seed": 5, "deterministic": True}


@pytest.mark.parametrize("parser", ["plain", "lpw", "compel"])
def test_an_adapter_named_in_the_prompt_counts_as_one_named_beside_it(client: TestClient, parser: str) -> None:
    beside = client.post("/generate", json={**ASKED, "prompt_parser": parser, "loras": [{"id": "strong", "weight": 0.5}]})
    inside = client.post(
        "/generate", json={**ASKED, "prompt_parser": parser, "prompt": "a photo of a red star <lora:Strong:0.5>"}
    )

    assert np.array_equal(pixels(inside), pixels(beside))
    assert inside.json()["meta"]["loras"] == beside.json()["meta"]["loras"]
    sha256 = inside.json()["meta"]["loras"][0]["sha256"]
    by_hash = client.post("/generate", json={**ASKED, "prompt": f"a photo of a red star <lora:{sha256[:10]}:0.5>"})
    assert by_hash.json()["meta"]["loras"] == beside.json()["meta"]["loras"]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"prompt": "a <lora:stron:1>"}, "prompt: at character 3: no adapter is called 'stron'. Did you mean 'strong'"),
        ({"prompt": "a <hypernet:x:1>"}, "hypernetwork"),
        ({"prompt": "a <lora:strong:1>", "loras": [{"id": "strong"}]}, "names one adapter twice"),
        ({"prompt": "a <lora:strong:1000>"}, "a weight is -100 to 100"),
        ({"prompt": "a", "negative_prompt": "<lora:strong:1>"}, "negative_prompt: at character 1"),
        ({"prompt": "a AND b", "prompt_parser": "lpw", "cfg": 1}, "AND takes guidance"),
        ({"prompt": "a star AND a (ring:200)", "prompt_parser": "lpw"}, "prompt: in 'a (ring:200)' at character 9: a weight is"),
    ],
)
def test_what_cannot_be_put_on_is_refused_with_its_place(client: TestClient, fields: dict[str, object], told: str) -> None:
    answer = client.post("/generate", json={**ASKED, **fields})

    assert answer.status_code == 422
    assert told in answer.json()["detail"]


@pytest.mark.parametrize(
    ("parser", "prompt", "told"),
    [
        ("lpw", "a red++ star", "'red++' at character 3 means nothing to prompt_parser lpw"),
        ("plain", "a (red:1.3) star", "means nothing to prompt_parser plain and is read as words; lpw reads it"),
        ("compel", "a [red:green:0.5] star", "means nothing to prompt_parser compel"),
    ],
)
def test_marks_of_another_grammar_are_told(client: TestClient, parser: str, prompt: str, told: str) -> None:
    answer = client.post("/generate", json={**ASKED, "prompt": prompt, "prompt_parser": parser})

    assert any(told in warning for warning in answer.json()["warnings"])


def test_weights_of_sliders_are_taken_and_told_and_every_answered_seed_can_be_asked_for(client: TestClient) -> None:
    strong = client.post("/generate", json={**ASKED, "loras": [{"id": "strong", "weight": 2.5}]}).json()
    drawn = client.post("/generate", json={**ASKED, "seed": -1}).json()
    last = client.post("/generate", json={**ASKED, "seed": 2**63 - 1, "batch": 2}).json()["images"][-1]["seed"]

    assert "counts 2.5 times" in strong["warnings"][0]
    assert drawn["images"][0]["seed"] >= 0
    assert client.post("/generate", json={**ASKED, "seed": last}).status_code == 200
