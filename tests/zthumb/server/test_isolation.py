"""No request sees another's adapters: two hundred random requests, eight at a time."""

import random
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from tests.adapters import MINI_SDXL, random_adapter
from tests.conftest import MINIATURE
from tests.zthumb.server.conftest import pixels, settings, started
from zthumb.adapters.layouts import save_kohya
from zthumb.server.app import create_app
from zthumb.server.settings import Settings

pytestmark = pytest.mark.slow

SMALL = {"prompt": "a photo of a red star", "seed": 3, "steps": 1, "width": 64, "height": 64, "deterministic": True}
REQUEST_COUNT, CONCURRENT_REQUESTS = 120, 8


@pytest.fixture(scope="module")
def adapter_ids(models: Path) -> list[str]:
    """The ids of five adapters with different ranks and target modules."""
    targets = ["attention", "attention+feed-forward", "attention", "attention", "attention"]
    for number, target in enumerate(targets):
        folder = models / "lora" / f"number-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        adapter = random_adapter(MINIATURE, 2 + number, 4.0, target, strength=0.03 + 0.02 * number, use_dora=number == 3)
        save_kohya(adapter, folder / f"number-{number}.safetensors", *MINI_SDXL, {"ss_v2": "False"})
    return [f"number-{number}" for number in range(len(targets))]


def _mix(rng: random.Random, ids: list[str]) -> tuple[tuple[str, float], ...]:
    return tuple((name, rng.choice([-0.5, 0.0, 0.5, 1.0])) for name in rng.sample(ids, rng.choice([0, 0, 1, 1, 2, 3])))


def _fields(mix: tuple[tuple[str, float], ...]) -> dict[str, Any]:
    return {**SMALL, "loras": [{"id": name, "weight": weight} for name, weight in mix]}


def test_every_image_depends_on_the_requests_own_adapters_alone(models: Path, adapter_ids: list[str]) -> None:
    rng = random.Random(0)
    mixes = [_mix(rng, adapter_ids) for _ in range(20)]
    requested = [rng.choice(mixes) for _ in range(REQUEST_COUNT)]
    # Memory for some of the adapters only, so that they are evicted and loaded again.
    with started(settings(models, adapter_memory_mb=2)) as client:
        base = pixels(client.post("/generate", json=SMALL))
        alone = {mix: pixels(client.post("/generate", json=_fields(mix))) for mix in set(requested)}
        with ThreadPoolExecutor(CONCURRENT_REQUESTS) as pool:
            images = list(pool.map(lambda mix: pixels(client.post("/generate", json=_fields(mix))), requested))
        assert np.array_equal(pixels(client.post("/generate", json=SMALL)), base)
    for mix, image in zip(requested, images, strict=True):
        assert np.array_equal(image, alone[mix]), mix
        if not any(weight for _, weight in mix):
            assert np.array_equal(image, base)


def test_compatible_requests_are_batched_and_give_nearly_the_same_images_as_alone(client: TestClient) -> None:
    requests = [{**SMALL, "deterministic": False, "steps": 8, "seed": seed} for seed in range(12)]
    alone = [pixels(client.post("/generate", json={**request, "deterministic": True})) for request in requests]
    with ThreadPoolExecutor(len(requests)) as pool:
        responses = list(pool.map(lambda request: client.post("/generate", json=request), requests))
    assert max(response.json()["meta"]["batch_size"] for response in responses) > 1
    for response, expected in zip(responses, alone, strict=True):
        assert np.abs(pixels(response).astype(int) - expected).max() <= 2


def test_a_base_that_cannot_be_loaded_is_reported_and_requests_are_refused(tmp_path: Path) -> None:
    broken = tmp_path / "mini-sdxl"
    shutil.copytree(MINIATURE, broken)
    (broken / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"broken")
    with TestClient(
        create_app(Settings(model=str(broken), models_folder=tmp_path, data_folder=tmp_path / "server")),
        base_url="http://127.0.0.1",
    ) as client:
        for _ in range(3000):
            response = client.get("/health/ready")
            assert response.status_code == 503
            if response.json()["failed"]:
                break
            time.sleep(0.1)
        assert "cannot be loaded" in response.json()["reason"]
        assert client.get("/health/live").status_code == 200
        refused = client.post("/generate", json=SMALL)
    assert refused.status_code == 503
    assert "cannot be loaded" in refused.json()["detail"]
