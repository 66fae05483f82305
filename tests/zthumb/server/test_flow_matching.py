"""A base of flow matching that is told its guidance, served as any other: FLUX.1 in small, with random weights."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from tests.conftest import ROOT
from tests.zthumb.families.random_miniatures import write_flux
from tests.zthumb.server.conftest import pixels, settings, started
from zthumb.backends import full, turbo
from zthumb.families.base import BASES

STAR = {"prompt": "a photo of a red star on a blue background", "seed": 3, "steps": 3, "deterministic": True}


@pytest.fixture(scope="module")
def with_flux(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    models = tmp_path_factory.mktemp("models")
    (models / "mini-sdxl").symlink_to(ROOT / "models" / "mini-sdxl")
    write_flux(models / "mini-sdxl", models / "mini-flux")
    with started(settings(models, model=str(models / "mini-flux"))) as client:
        yield client


@pytest.mark.slow
def test_guidance_is_told_and_a_negative_prompt_counts_only_with_a_true_cfg_scale(with_flux: TestClient) -> None:
    image = pixels(with_flux.post("/generate", json=STAR))
    assert image.shape == (128, 128, 3)
    assert np.array_equal(pixels(with_flux.post("/generate", json={**STAR, "cfg": 3.5})), image)
    assert not np.array_equal(pixels(with_flux.post("/generate", json={**STAR, "cfg": 1.0})), image)

    without = with_flux.post("/generate", json={**STAR, "negative_prompt": "a ring"})
    assert without.json()["warnings"] == ["negative_prompt has no effect without guidance, and true_cfg_scale is 1."]
    assert np.array_equal(pixels(without), image)
    led_away = with_flux.post("/generate", json={**STAR, "negative_prompt": "a ring", "true_cfg_scale": 3})
    assert led_away.json()["warnings"] == []
    assert not np.array_equal(pixels(led_away), image)


@pytest.mark.slow
def test_the_guidance_that_it_is_told_has_a_schedule(with_flux: TestClient) -> None:
    constant, linear = (
        with_flux.post("/generate", json={**STAR, "embedded_guidance_schedule": schedule}) for schedule in ("constant", "linear")
    )

    assert np.array_equal(pixels(constant), pixels(with_flux.post("/generate", json=STAR)))
    assert not np.array_equal(pixels(linear), pixels(constant))
    assert linear.json()["warnings"] == []


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", ["euler", "euler_a", "unipc", "lcm"])
def test_its_schedulers_give_the_same_image_again(with_flux: TestClient, scheduler: str) -> None:
    first, second = (pixels(with_flux.post("/generate", json={**STAR, "scheduler": scheduler})) for _ in range(2))

    assert np.array_equal(first, second)
    assert scheduler in with_flux.get("/capabilities").json()["schedulers"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"scheduler": "ddim"}, "scheduler: ddim is not for flux, which takes euler, euler_a, unipc, lcm"),
        ({"width": 136}, "width: 136 is not a multiple of 16, which flux needs"),
        ({"prompt_parser": "compel"}, "prompt_parser: compel weighs the tokens of CLIP text encoders"),
    ],
)
def test_what_it_cannot_do_is_refused(with_flux: TestClient, fields: dict[str, Any], message: str) -> None:
    response = with_flux.post("/generate", json={**STAR, **fields})

    assert response.status_code == 422, response.text
    assert message in response.json()["detail"]


def test_a_base_that_was_distilled_to_few_steps_is_variant_turbo_by_itself() -> None:
    def found(folder: Path) -> list[str]:
        return [backend.Backend.name for backend in (full, turbo) if backend.Backend.find(folder, None) is not None]

    assert found(BASES / "FLUX.1-dev") == ["full"]
    assert found(BASES / "FLUX.1-schnell") == ["turbo"]
