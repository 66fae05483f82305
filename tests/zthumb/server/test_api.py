"""The API, driven over HTTP against the miniature."""

import base64
import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file

from tests.adapters import random_adapter
from tests.conftest import MINIATURE
from zthumb.adapters import apply, safetensors_file
from zthumb.adapters.layouts import save_diffusers, save_kohya
from zthumb.backends.full import Backend
from zthumb.server.app import create_app
from zthumb.server.settings import Settings

pytestmark = pytest.mark.slow

BASE = {"prompt": "a photo of a red star on a blue background", "seed": 5, "steps": 4}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with the miniature and one strong adapter in both layouts."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "mini-sdxl").symlink_to(MINIATURE)
    adapter = random_adapter(MINIATURE)
    (folder / "lora" / "strong").mkdir(parents=True)
    save_kohya(adapter, folder / "lora" / "strong" / "strong.safetensors", 1, {"ss_v2": "False"})
    save_diffusers(adapter, folder / "lora" / "strong" / "pytorch_lora_weights.safetensors")
    return folder


@pytest.fixture(scope="module")
def client(models: Path) -> Iterator[TestClient]:
    with TestClient(create_app(Settings(model=str(models / "mini-sdxl"), models_folder=models))) as client:
        yield client


def _pixels(answer: Any, place: int = 0) -> NDArray[np.uint8]:
    assert answer.status_code == 200, answer.text
    data = base64.b64decode(answer.json()["images"][place]["b64_json"])
    return np.asarray(Image.open(io.BytesIO(data)))


def test_a_prompt_becomes_a_picture_with_everything_needed_to_make_it_again(client: TestClient) -> None:
    answer = client.post("/generate", json=BASE)
    assert _pixels(answer).shape == (128, 128, 3)
    body = answer.json()
    assert set(body) == {"images", "meta", "warnings"}
    assert body["images"][0]["seed"] == 5
    meta = body["meta"]
    assert (meta["backend"], meta["variant"], meta["steps"], meta["cfg"]) == ("full", "full", 4, 5.0)
    assert (meta["width"], meta["height"], meta["lora"]) == (128, 128, None)
    assert meta["timings"]["generate"] > 0


def test_the_same_seed_is_the_same_picture_and_another_is_another(client: TestClient) -> None:
    first, again = client.post("/generate", json=BASE), client.post("/generate", json=BASE)
    other = client.post("/generate", json={**BASE, "seed": 6})
    assert np.array_equal(_pixels(first), _pixels(again))
    assert not np.array_equal(_pixels(first), _pixels(other))


def test_a_missing_seed_is_drawn_and_reported(client: TestClient) -> None:
    drawn = client.post("/generate", json={"prompt": "a star", "steps": 2})
    seed = drawn.json()["images"][0]["seed"]
    again = client.post("/generate", json={"prompt": "a star", "steps": 2, "seed": seed})
    assert np.array_equal(_pixels(drawn), _pixels(again))


def test_a_picture_is_the_same_alone_and_in_a_batch(client: TestClient) -> None:
    batch = client.post("/generate", json={**BASE, "batch": 3})
    alone = client.post("/generate", json={**BASE, "seed": 7})
    assert [image["seed"] for image in batch.json()["images"]] == [5, 6, 7]
    assert np.array_equal(_pixels(batch, 2), _pixels(alone))


@pytest.mark.parametrize("layout", ["lora/strong/strong.safetensors", "lora/strong"])
def test_base_then_adapter_then_base_is_bit_identical(client: TestClient, layout: str) -> None:
    before = _pixels(client.post("/generate", json=BASE))
    answer = client.post("/generate", json={**BASE, "lora_path": layout, "lora_scale": 1.0})
    assert not np.array_equal(_pixels(answer), before)
    assert answer.json()["meta"]["lora"]["scale"] == 1.0
    assert len(answer.json()["meta"]["lora"]["sha256"]) == 64
    assert np.array_equal(_pixels(client.post("/generate", json=BASE)), before)


def test_scale_zero_is_the_base_and_scales_differ(client: TestClient) -> None:
    base = _pixels(client.post("/generate", json=BASE))
    adapter = {**BASE, "lora_path": "lora/strong/strong.safetensors"}
    pictures = [_pixels(client.post("/generate", json={**adapter, "lora_scale": scale})) for scale in (0, 0.5, 1)]
    assert np.array_equal(pictures[0], base)
    assert not np.array_equal(pictures[1], pictures[2])


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_the_picture_comes_in_the_format_asked_for(client: TestClient, kind: str) -> None:
    answer = client.post("/generate", json={**BASE, "output_format": kind})
    data = base64.b64decode(answer.json()["images"][0]["b64_json"])
    assert (Image.open(io.BytesIO(data)).format or "").lower() == kind


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"promt": "x"}, "promt"),
        ({"width": 130}, "width"),
        ({"steps": 0}, "steps"),
        ({"variant": "turbulent"}, "variant"),
        ({"lora_path": "../../etc/passwd"}, "outside the models folder"),
        ({"lora_path": "/etc/passwd"}, "outside the models folder"),
        ({"lora_path": "lora/gone.safetensors"}, "GET /models lists"),
        ({"lora_path": "mini-sdxl/unet/diffusion_pytorch_model.safetensors"}, "outside the models folder"),
        ({"lora_path": "a\0b"}, "is no path"),
        ({"lora_path": "x" * 300}, "lora_path"),
        ({"lora_scale": 0.5}, "without lora_path"),
    ],
)
def test_what_cannot_be_done_is_refused_and_says_why(client: TestClient, fields: dict[str, Any], named: str) -> None:
    answer = client.post("/generate", json={**BASE, **fields})
    assert answer.status_code == 422
    assert named in answer.text
    assert "Traceback" not in answer.text


def test_a_refused_adapter_leaves_no_trace(client: TestClient, models: Path) -> None:
    before = _pixels(client.post("/generate", json=BASE))
    (models / "lora" / "broken").mkdir(exist_ok=True)
    (models / "lora" / "broken" / "broken.safetensors").write_bytes(b"broken")
    assert client.post("/generate", json={**BASE, "lora_path": "lora/broken/broken.safetensors"}).status_code == 422
    assert np.array_equal(_pixels(client.post("/generate", json=BASE)), before)


def test_an_adapter_that_fails_while_it_is_put_on_leaves_no_trace(
    client: TestClient, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _pixels(client.post("/generate", json=BASE))
    with monkeypatch.context() as patch:

        def fail(*_: object) -> None:
            raise MemoryError

        patch.setattr(apply, "weigh", fail)
        with pytest.raises(MemoryError):
            client.post("/generate", json={**BASE, "lora_path": "lora/strong"})
    assert np.array_equal(_pixels(client.post("/generate", json=BASE)), before)


def test_settings_of_other_programs_in_the_header_do_no_harm(client: TestClient, models: Path) -> None:
    good = models / "lora" / "strong" / "pytorch_lora_weights.safetensors"
    metadata = {"format": "pt", "lora_adapter_metadata": json.dumps({"unet.r": 4, "unet.no_such_setting": 1})}
    (models / "lora" / "odd").mkdir(exist_ok=True)
    safetensors_file.write(load_file(good), metadata, models / "lora" / "odd" / "pytorch_lora_weights.safetensors")
    answers = [client.post("/generate", json={**BASE, "lora_path": f"lora/{name}"}) for name in ("strong", "odd")]
    assert np.array_equal(*map(_pixels, answers))


def test_a_picture_that_fails_under_an_adapter_leaves_no_trace(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    before = _pixels(client.post("/generate", json=BASE))
    with monkeypatch.context() as patch:

        def fail(*_: object) -> None:
            raise MemoryError

        patch.setattr(Backend, "generate", fail)
        with pytest.raises(MemoryError):
            client.post("/generate", json={**BASE, "lora_path": "lora/strong"})
    assert np.array_equal(_pixels(client.post("/generate", json=BASE)), before)


def test_requests_at_the_same_time_do_not_see_each_others_adapters(client: TestClient) -> None:
    adapted = {**BASE, "lora_path": "lora/strong", "lora_scale": 1.0}
    alone = [_pixels(client.post("/generate", json=fields)) for fields in (BASE, adapted)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda fields: _pixels(client.post("/generate", json=fields)), [BASE, adapted] * 4))
    for place, picture in enumerate(together):
        assert np.array_equal(picture, alone[place % 2])


def test_models_and_health_tell_what_is_served(client: TestClient) -> None:
    body = client.get("/models").json()
    assert body["family"] == "sdxl"
    assert body["resolution"] == 128
    assert "lora/strong/strong.safetensors" in body["loras"]
    assert (body["lora_loaded"], body["lora_path"]) == (False, None)
    assert client.get("/health").json() == {"status": "ok", "ready": True}


@pytest.mark.parametrize("prefix", ["Z_LORA", "ZTHUMB_LORA"])
def test_an_adapter_from_the_environment_serves_requests_that_name_none(
    models: Path, client: TestClient, monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    monkeypatch.setenv(f"{prefix}_PATH", "lora/strong/strong.safetensors")
    monkeypatch.setenv(f"{prefix}_SCALE", "0.5")
    app = create_app(Settings(model=str(models / "mini-sdxl"), models_folder=models))
    with TestClient(app) as other:
        body = other.get("/models").json()
        assert (body["lora_loaded"], body["lora_path"], body["lora_scale"]) == (True, "lora/strong/strong.safetensors", 0.5)
        by_default = _pixels(other.post("/generate", json=BASE))
    named = {**BASE, "lora_path": "lora/strong/strong.safetensors", "lora_scale": 0.5}
    assert np.array_equal(by_default, _pixels(client.post("/generate", json=named)))
