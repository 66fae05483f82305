"""Variant gguf, over HTTP: it generates what variant full generates, takes adapters, and describes itself."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient

from foundation.errors import BadInput
from miniature import geometry
from tests.adapters import MINI_SDXL, random_adapter
from tests.conftest import MINIATURE
from tests.zthumb.server.conftest import pixels, settings, started
from zthumb import families
from zthumb.adapters.adapter import Adapter
from zthumb.adapters.layouts import save_kohya
from zthumb.backends.gguf import write_denoiser
from zthumb.generation.image_generator import ImageGenerator
from zthumb.server.app import create_app

pytestmark = pytest.mark.slow

STAR = {"prompt": "a photo of a large red star on a blue background", "seed": 5, "steps": 12, "deterministic": True}
GGUF = {**STAR, "variant": "gguf"}


@pytest.fixture(scope="module")
def with_gguf(models: Path) -> Iterator[TestClient]:
    write_denoiser(MINIATURE, families.get("sdxl"), "q5_0", models / "mini-sdxl.gguf")
    with started(settings(models)) as client:
        yield client


def test_it_generates_nearly_the_image_of_the_full_variant(with_gguf: TestClient) -> None:
    full, response = pixels(with_gguf.post("/generate", json=STAR)), with_gguf.post("/generate", json=GGUF)
    gguf = pixels(response)
    content = geometry.read(gguf)
    assert (content.background, content.colour, content.shape) == ("blue", "red", "star")
    difference = np.abs(gguf.astype(float) - full.astype(float)).mean()
    assert 0 < difference < 10
    assert response.json()["meta"]["variant"] == "gguf"


def test_an_adapter_is_applied_and_leaves_no_trace(with_gguf: TestClient) -> None:
    before = pixels(with_gguf.post("/generate", json=GGUF))
    adapted = pixels(with_gguf.post("/generate", json={**GGUF, "loras": [{"id": "strong", "weight": 1.0}]}))
    assert np.abs(adapted.astype(float) - before.astype(float)).mean() > 0.5
    assert np.array_equal(pixels(with_gguf.post("/generate", json=GGUF)), before)


def test_other_variants_are_unloaded_when_memory_runs_out_and_load_again_later(
    with_gguf: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = [pixels(with_gguf.post("/generate", json=request)) for request in (STAR, GGUF)]
    generate, failures = ImageGenerator.generate, iter([torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")])

    def out_of_memory_once(*arguments: Any) -> Any:
        for error in failures:
            raise error
        return generate(*arguments)

    monkeypatch.setattr(ImageGenerator, "generate", out_of_memory_once)
    assert np.array_equal(pixels(with_gguf.post("/generate", json=STAR)), before[0])

    variants = with_gguf.get("/capabilities").json()["variants"]
    assert (variants["full"]["is_loaded"], variants["gguf"]["is_loaded"]) == (True, False)
    assert np.array_equal(pixels(with_gguf.post("/generate", json=GGUF)), before[1])
    assert with_gguf.get("/capabilities").json()["variants"]["gguf"]["is_loaded"]


def test_capabilities_lists_it(with_gguf: TestClient) -> None:
    variants = with_gguf.get("/capabilities").json()["variants"]
    assert list(variants) == ["full", "gguf"]
    assert variants["gguf"]["base"] == "mini-sdxl.gguf"


def test_an_unknown_variant_is_refused(client: TestClient) -> None:
    response = client.post("/generate", json={"prompt": "x", "variant": "ggfu"})
    assert response.status_code == 422
    assert "there is no variant 'ggfu'" in response.text


def test_a_dora_is_refused_and_leaves_no_trace(with_gguf: TestClient, models: Path) -> None:
    before = pixels(with_gguf.post("/generate", json=GGUF))
    layers = {
        path: layer
        for path, layer in random_adapter(MINIATURE).layers.items()
        if path.startswith("unet.") and layer.up.dim() == 2
    }
    dora = Adapter({path: replace(layer, magnitude=torch.ones(layer.up.shape[0])) for path, layer in list(layers.items())[:2]})
    (models / "lora" / "dora").mkdir()
    save_kohya(dora, models / "lora" / "dora" / "dora.safetensors", *MINI_SDXL, {"ss_v2": "False"})
    response = with_gguf.post("/generate", json={**GGUF, "loras": [{"id": "dora"}]})
    assert response.status_code == 422
    assert ": use variant full." in response.text
    assert np.array_equal(pixels(with_gguf.post("/generate", json=GGUF)), before)


def test_the_error_of_an_invalid_file_does_not_reveal_its_folder(tmp_path: Path, models: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "x.gguf").write_bytes(b"no")
    with started(settings(models, gguf_model=str(tmp_path / "secret" / "x.gguf"))) as client:
        response = client.post("/generate", json=GGUF)
    assert response.status_code == 422
    assert response.json()["detail"].startswith("x.gguf: not a GGUF file")


def test_a_missing_file_in_the_settings_is_an_error_at_once(models: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="ZTHUMB_GGUF_MODEL"):
        create_app(settings(models, gguf_model=str(tmp_path / "gone.gguf")))
