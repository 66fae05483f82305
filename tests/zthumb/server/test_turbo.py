"""The variant in a few steps, over HTTP: it generates what is asked for, takes adapters, and refuses what it cannot do."""

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


def test_four_steps_without_guidance_show_what_is_asked_for(with_turbo: TestClient) -> None:
    answer = with_turbo.post("/generate", json=STAR)
    seen = geometry.read(pixels(answer))
    assert (seen.background, seen.colour, seen.shape) == ("blue", "red", "star")
    meta = answer.json()["meta"]
    assert (meta["variant"], meta["steps"], meta["cfg"], meta["scheduler"]) == ("turbo", 4, 0.0, "euler_a")
    assert meta["why"] == "it was asked for"


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_fewer_steps_show_the_colours(with_turbo: TestClient, steps: int) -> None:
    seen = geometry.read(pixels(with_turbo.post("/generate", json={**STAR, "steps": steps})))
    assert (seen.background, seen.colour) == ("blue", "red")


def test_an_adapter_counts_and_is_gone_afterwards(with_turbo: TestClient) -> None:
    before = pixels(with_turbo.post("/generate", json=STAR))
    adapted = pixels(with_turbo.post("/generate", json={**STAR, "loras": [{"id": "strong", "weight": 1.0}]}))
    assert not np.array_equal(adapted, before)
    assert np.array_equal(pixels(with_turbo.post("/generate", json=STAR)), before)


@pytest.mark.parametrize(("fields", "named"), [({"steps": 5}, "1 to 4"), ({"cfg": 3.0}, "only 0")])
def test_what_it_cannot_do_is_refused(with_turbo: TestClient, fields: dict[str, Any], named: str) -> None:
    answer = with_turbo.post("/generate", json={**STAR, **fields})
    assert answer.status_code == 422
    assert named in answer.json()["detail"]


def test_what_has_no_effect_is_told(with_turbo: TestClient) -> None:
    answer = with_turbo.post("/generate", json={**STAR, "negative_prompt": "a ring"}).json()
    assert answer["warnings"] == ["negative_prompt has no effect without guidance, and cfg is 0."]


def test_it_is_listed_and_auto_prefers_the_full_one(with_turbo: TestClient) -> None:
    found = with_turbo.get("/capabilities").json()["variants"]
    assert list(found) == ["full", "turbo"]
    assert (found["turbo"]["steps"], found["turbo"]["default_cfg"]) == ([1, 4], 0.0)
    assert with_turbo.post("/generate", json={**STAR, "variant": "auto", "steps": 1}).json()["meta"]["variant"] == "full"


def test_without_a_base_for_it_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mini-sdxl").symlink_to(MINIATURE)
    with started(settings(tmp_path / "models")) as client:
        answer = client.post("/generate", json=STAR)
    assert answer.status_code == 422
    assert "no base for turbo is here; there are full" in answer.json()["detail"]
