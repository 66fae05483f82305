"""Requests whose guidance changes with the steps, and whose predictions are not all computed."""

import numpy as np
import pytest
from fastapi.testclient import TestClient

from tests.zthumb.server.conftest import pixels

STAR = {"prompt": "a photo of a red star on a blue background", "seed": 7, "steps": 4}


def test_an_interval_saves_predictions_and_says_how_many(client: TestClient) -> None:
    constant, whole, half = (
        client.post("/generate", json={**STAR, "guidance_schedule": schedule})
        for schedule in ("constant", "interval:0-1", "interval:0.5-1")
    )

    assert np.array_equal(pixels(constant), pixels(whole))
    assert not np.array_equal(pixels(constant), pixels(half))
    assert [response.json()["meta"]["unguided_steps"] for response in (constant, whole, half)] == [0, 0, 2]


def test_an_image_says_its_schedule(client: TestClient) -> None:
    response = client.post("/generate", json={**STAR, "guidance_schedule": "cosine", "response_format": "b64_json"}).json()

    inspected = client.post("/images/inspect", json={"image": response["images"][0]["b64_json"]})

    assert inspected.json()["parameters"]["guidance_schedule"] == "cosine"
    assert "embedded_guidance_schedule" not in inspected.json()["parameters"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"guidance_schedule": "quadratic"}, "is no guidance schedule"),
        ({"embedded_guidance_schedule": "linear"}, "sdxl is not told its guidance"),
    ],
)
def test_what_is_impossible_is_refused(client: TestClient, fields: dict[str, str], message: str) -> None:
    response = client.post("/generate", json={**STAR, **fields})

    assert response.status_code == 422
    assert message in response.text


def test_without_guidance_a_schedule_has_no_effect_and_that_is_said(client: TestClient) -> None:
    response = client.post("/generate", json={**STAR, "cfg": 1, "guidance_schedule": "linear"}).json()

    assert response["warnings"] == ["guidance_schedule has no effect without guidance, and cfg is 1."]


def test_a_step_cache_saves_predictions_and_the_image_is_nearly_the_same(client: TestClient) -> None:
    request = {**STAR, "steps": 12}

    whole, cached = (client.post("/generate", json={**request, "step_cache": every}) for every in (1, 2))

    apart = np.abs(pixels(whole).astype(float) - pixels(cached).astype(float)).mean()
    assert 0 < apart < 1
    assert [response.json()["meta"]["extrapolated_steps"] for response in (whole, cached)] == [0, 4]
