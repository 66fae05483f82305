"""Variant turbo, over HTTP: it follows the prompt in a few steps, takes adapters, and refuses what it does not support."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from miniature import geometry
from tests.conftest import MINIATURE
from tests.zthumb.server.conftest import pixels, settings, started

pytestmark = pytest.mark.slow

STAR = {"prompt": "a photo of a large red star on a blue background", "seed": 5, "variant": "turbo", "deterministic": True}


@pytest.fixture(scope="module")
def with_turbo(models: Path) -> Iterator[TestClient]:
    (models / "mini-sdxl-turbo").symlink_to(MINIATURE.parent / "mini-sdxl-turbo")
    with started(settings(models)) as client:
        yield client


def test_four_steps_without_guidance_follow_the_prompt(with_turbo: TestClient) -> None:
    response = with_turbo.post("/generate", json=STAR)
    content = geometry.read(pixels(response))
    assert (content.background, content.colour, content.shape) == ("blue", "red", "star")
    meta = response.json()["meta"]
    assert (meta["variant"], meta["steps"], meta["cfg"], meta["scheduler"]) == ("turbo", 4, 0.0, "euler_a")
    assert meta["variant_reason"] == "the request names it"


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_fewer_steps_follow_the_colours_of_the_prompt(with_turbo: TestClient, steps: int) -> None:
    content = geometry.read(pixels(with_turbo.post("/generate", json={**STAR, "steps": steps})))
    assert (content.background, content.colour) == ("blue", "red")


def test_an_adapter_is_applied_and_leaves_no_trace(with_turbo: TestClient) -> None:
    before = pixels(with_turbo.post("/generate", json=STAR))
    adapted = pixels(with_turbo.post("/generate", json={**STAR, "loras": [{"id": "strong", "weight": 1.0}]}))
    assert not np.array_equal(adapted, before)
    assert np.array_equal(pixels(with_turbo.post("/generate", json=STAR)), before)


@pytest.mark.parametrize(("fields", "message"), [({"steps": 5}, "1 to 4"), ({"cfg": 3.0}, "only 0")])
def test_unsupported_steps_and_guidance_are_refused(with_turbo: TestClient, fields: dict[str, Any], message: str) -> None:
    response = with_turbo.post("/generate", json={**STAR, **fields})
    assert response.status_code == 422
    assert message in response.json()["detail"]


def test_a_negative_prompt_without_effect_gives_a_warning(with_turbo: TestClient) -> None:
    response = with_turbo.post("/generate", json={**STAR, "negative_prompt": "a ring"}).json()
    assert response["warnings"] == ["negative_prompt has no effect without guidance, and cfg is 0."]


def test_capabilities_lists_it_and_auto_prefers_the_full_variant(with_turbo: TestClient) -> None:
    variants = with_turbo.get("/capabilities").json()["variants"]
    assert list(variants) == ["full", "turbo"]
    assert (variants["turbo"]["steps"], variants["turbo"]["default_cfg"]) == ([1, 4], 0.0)
    assert with_turbo.post("/generate", json={**STAR, "variant": "auto", "steps": 1}).json()["meta"]["variant"] == "full"


def test_it_is_refused_if_its_weights_are_missing(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mini-sdxl").symlink_to(MINIATURE)
    with started(settings(tmp_path / "models")) as client:
        response = client.post("/generate", json=STAR)
    assert response.status_code == 422
    assert "no weights for turbo are available, only for full" in response.json()["detail"]
