"""No request sees another's adapters: two hundred at random, eight at a time."""

import random
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from tests.adapters import random_adapter
from tests.conftest import MINIATURE
from tests.zthumb.server.conftest import pixels, settings, started
from zthumb.adapters.layouts import save_kohya
from zthumb.server.app import create_app
from zthumb.server.settings import Settings

pytestmark = pytest.mark.slow

SMALL = {"prompt": "a photo of a red star", "seed": 3, "steps": 1, "width": 64, "height": 64, "deterministic": True}
REQUESTS, AT_ONCE = 200, 8


@pytest.fixture(scope="module")
def several(models: Path) -> list[str]:
    """The ids of five adapters of several ranks, in modules of several kinds."""
    kinds = ["attention", "attention+feed-forward", "attention", "attention", "attention"]
    for number, kind in enumerate(kinds):
        folder = models / "lora" / f"number-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        adapter = random_adapter(MINIATURE, 2 + number, 4.0, kind, strength=0.03 + 0.02 * number, magnitudes=number == 3)
        save_kohya(adapter, folder / f"number-{number}.safetensors", 1, {"ss_v2": "False"})
    return [f"number-{number}" for number in range(len(kinds))]


def _mix(rng: random.Random, ids: list[str]) -> tuple[tuple[str, float], ...]:
    return tuple((name, rng.choice([-0.5, 0.0, 0.5, 1.0])) for name in rng.sample(ids, rng.choice([0, 0, 1, 1, 2, 3])))


def _fields(mix: tuple[tuple[str, float], ...]) -> dict[str, Any]:
    return {**SMALL, "loras": [{"id": name, "weight": weight} for name, weight in mix]}


def test_every_answer_is_what_its_own_adapters_make(models: Path, several: list[str]) -> None:
    rng = random.Random(0)
    mixes = [_mix(rng, several) for _ in range(20)]
    asked = [rng.choice(mixes) for _ in range(REQUESTS)]
    # Room for some of them alone, so that they come and go.
    with started(settings(models, adapter_memory_mb=2)) as client:
        base = pixels(client.post("/generate", json=SMALL))
        alone = {mix: pixels(client.post("/generate", json=_fields(mix))) for mix in set(asked)}
        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers = list(pool.map(lambda mix: pixels(client.post("/generate", json=_fields(mix))), asked))
        assert np.array_equal(pixels(client.post("/generate", json=SMALL)), base)
    for mix, answer in zip(asked, answers, strict=True):
        assert np.array_equal(answer, alone[mix]), mix
        if not any(weight for _, weight in mix):
            assert np.array_equal(answer, base)


def test_like_requests_are_generated_together_and_nearly_as_alone(client: TestClient) -> None:
    fields = [{**SMALL, "deterministic": False, "steps": 8, "seed": seed} for seed in range(12)]
    alone = [pixels(client.post("/generate", json={**each, "deterministic": True})) for each in fields]
    with ThreadPoolExecutor(len(fields)) as pool:
        answers = list(pool.map(lambda each: client.post("/generate", json=each), fields))
    assert max(answer.json()["meta"]["together"] for answer in answers) > 1
    for answer, expected in zip(answers, alone, strict=True):
        assert np.abs(pixels(answer).astype(int) - expected).max() <= 2


def test_a_base_that_cannot_be_loaded_is_told_and_requests_are_turned_away(tmp_path: Path) -> None:
    broken = tmp_path / "mini-sdxl"
    shutil.copytree(MINIATURE, broken)
    (broken / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"broken")
    with TestClient(
        create_app(Settings(model=str(broken), models_folder=tmp_path, data_folder=tmp_path / "server")),
        base_url="http://127.0.0.1",
    ) as client:
        for _ in range(600):
            answer = client.get("/health/ready")
            assert answer.status_code == 503
            if answer.json()["failed"]:
                break
            time.sleep(0.1)
        assert "cannot be loaded" in answer.json()["reason"]
        assert client.get("/health/live").status_code == 200
        refused = client.post("/generate", json=SMALL)
    assert refused.status_code == 503
    assert "cannot be loaded" in refused.json()["detail"]
