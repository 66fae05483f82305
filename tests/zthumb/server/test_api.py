"""The API over HTTP, on a server of the miniature model."""

import base64
import io
import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image
from safetensors.torch import load_file

from foundation.hashing import hash_file
from foundation.verdict import Effect, Verdict, write_verdict
from tests.zthumb.server.conftest import pixels, settings, started
from zthumb.adapters import apply
from zthumb.checkpoints import safetensors_file
from zthumb.families.sdxl import SDXL
from zthumb.generation.image_generator import ImageGenerator

pytestmark = pytest.mark.slow

BASE = {"prompt": "a photo of a red star on a blue background", "seed": 5, "steps": 4}


def test_a_prompt_gives_an_image_with_everything_needed_to_reproduce_it(client: TestClient) -> None:
    response = client.post("/generate", json=BASE)
    assert pixels(response).shape == (128, 128, 3)
    body = response.json()
    assert set(body) == {"images", "meta", "warnings"}
    assert body["images"][0]["seed"] == 5
    meta = body["meta"]
    assert (meta["backend"], meta["variant"], meta["steps"], meta["cfg"]) == ("full", "full", 4, 5.0)
    assert (meta["width"], meta["height"], meta["loras"]) == (128, 128, [])
    assert (meta["scheduler"], meta["batch_size"]) == ("euler", 1)
    assert "GiB free" in meta["variant_reason"] or "is loaded" in meta["variant_reason"]
    assert meta["peak_memory_mb"] > 100
    assert meta["timings"]["generate"] > 0


def test_the_same_seed_gives_the_same_image_and_another_seed_another_image(client: TestClient) -> None:
    first, again = client.post("/generate", json=BASE), client.post("/generate", json=BASE)
    other_seed = client.post("/generate", json={**BASE, "seed": 6})
    assert np.array_equal(pixels(first), pixels(again))
    assert not np.array_equal(pixels(first), pixels(other_seed))


def test_a_missing_seed_is_drawn_at_random_and_reported(client: TestClient) -> None:
    drawn = client.post("/generate", json={"prompt": "a star", "steps": 2})
    seed = drawn.json()["images"][0]["seed"]
    again = client.post("/generate", json={"prompt": "a star", "steps": 2, "seed": seed})
    assert np.array_equal(pixels(drawn), pixels(again))


def test_an_image_is_the_same_alone_and_in_a_deterministic_batch(client: TestClient) -> None:
    alone = client.post("/generate", json={**BASE, "seed": 7})
    deterministic = client.post("/generate", json={**BASE, "batch": 3, "deterministic": True})
    assert [image["seed"] for image in deterministic.json()["images"]] == [5, 6, 7]
    assert np.array_equal(pixels(deterministic, 2), pixels(alone))
    batched = client.post("/generate", json={**BASE, "batch": 3})
    assert (deterministic.json()["meta"]["batch_size"], batched.json()["meta"]["batch_size"]) == (1, 3)
    # Sums are rounded in another order when several images are generated at once.
    assert np.abs(pixels(batched, 2).astype(int) - pixels(alone)).max() <= 2


@pytest.mark.parametrize("layout", ["lora/strong/strong.safetensors", "lora/strong"])
def test_base_then_adapter_then_base_is_bit_identical(client: TestClient, layout: str) -> None:
    before = pixels(client.post("/generate", json=BASE))
    response = client.post("/generate", json={**BASE, "lora_path": layout, "lora_scale": 1.0})
    assert not np.array_equal(pixels(response), before)
    (lora,) = response.json()["meta"]["loras"]
    assert (lora["weight"], len(lora["sha256"])) == (1.0, 64)
    assert np.array_equal(pixels(client.post("/generate", json=BASE)), before)


def test_scale_zero_is_the_base_and_scales_differ(client: TestClient) -> None:
    base = pixels(client.post("/generate", json=BASE))
    adapter = {**BASE, "lora_path": "lora/strong/strong.safetensors"}
    images = [pixels(client.post("/generate", json={**adapter, "lora_scale": scale})) for scale in (0, 0.5, 1)]
    assert np.array_equal(images[0], base)
    assert not np.array_equal(images[1], images[2])


@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
def test_the_image_has_the_requested_format(client: TestClient, output_format: str) -> None:
    response = client.post("/generate", json={**BASE, "output_format": output_format})
    data = base64.b64decode(response.json()["images"][0]["b64_json"])
    assert (Image.open(io.BytesIO(data)).format or "").lower() == output_format


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"promt": "x"}, "promt"),
        ({"width": 130}, "width"),
        ({"steps": 0}, "steps"),
        ({"variant": "turbulent"}, "variant"),
        ({"lora_path": "../../etc/passwd"}, "outside the models folder"),
        ({"lora_path": "/etc/passwd"}, "outside the models folder"),
        ({"lora_path": "lora/gone.safetensors"}, "GET /models lists"),
        ({"lora_path": "mini-sdxl/unet/diffusion_pytorch_model.safetensors"}, "outside the models folder"),
        ({"lora_path": "a\0b"}, "is not a valid path"),
        ({"lora_path": "x" * 300}, "lora_path"),
        ({"lora_path": "."}, "no adapter found"),
        ({"lora_scale": 0.5}, "without lora_path"),
        ({"scheduler": "euler_b"}, "scheduler"),
        ({"loras": [{"id": "gone"}]}, "no adapter is called 'gone'"),
        ({"loras": [{"weight": 1}]}, "exactly one of id, path and ref"),
        ({"loras": [{"id": "strong"}], "lora_path": "lora/strong"}, "either in loras or by lora_path"),
        ({"loras": [{"id": "strong"}, {"path": "lora/strong/strong.safetensors"}]}, "names one adapter twice"),
        ({"steps": 150, "batch": 16, "width": 512, "height": 512}, "more than this server accepts at once"),
    ],
)
def test_an_impossible_request_is_refused_with_the_reason(client: TestClient, fields: dict[str, Any], message: str) -> None:
    response = client.post("/generate", json={**BASE, **fields})
    assert response.status_code == 422
    assert message in response.text
    assert "Traceback" not in response.text
    assert "/tmp" not in response.text


def test_a_size_that_the_family_cannot_generate_is_refused_with_the_nearest(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SDXL, "size_multiple", 16)
    response = client.post("/generate", json={"prompt": "a red star", "steps": 1, "width": 72, "height": 64})
    assert response.status_code == 422
    assert "width: 72 is not a multiple of 16, which sdxl needs; the nearest is 64." in response.text


def test_a_refused_adapter_does_not_change_later_images(client: TestClient, models: Path) -> None:
    before = pixels(client.post("/generate", json=BASE))
    (models / "lora" / "broken").mkdir(exist_ok=True)
    (models / "lora" / "broken" / "broken.safetensors").write_bytes(b"broken")
    refused = client.post("/generate", json={**BASE, "lora_path": "lora/broken/broken.safetensors"})
    assert refused.status_code == 422
    assert refused.json()["detail"].startswith("lora/broken/broken.safetensors: ")
    assert np.array_equal(pixels(client.post("/generate", json=BASE)), before)


def test_an_adapter_that_fails_while_it_is_applied_does_not_change_later_images(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = pixels(client.post("/generate", json=BASE))
    with monkeypatch.context() as patch:

        def fail(*_: object) -> None:
            raise MemoryError

        patch.setattr(apply, "set_weights", fail)
        assert client.post("/generate", json={**BASE, "lora_path": "lora/strong"}).status_code == 507
    assert np.array_equal(pixels(client.post("/generate", json=BASE)), before)


def test_unknown_settings_in_an_adapters_header_are_ignored(client: TestClient, models: Path) -> None:
    good = models / "lora" / "strong" / "pytorch_lora_weights.safetensors"
    metadata = {"format": "pt", "lora_adapter_metadata": json.dumps({"unet.r": 4, "unet.no_such_setting": 1})}
    (models / "lora" / "odd").mkdir(exist_ok=True)
    safetensors_file.write(load_file(good), metadata, models / "lora" / "odd" / "pytorch_lora_weights.safetensors")
    responses = [client.post("/generate", json={**BASE, "lora_path": f"lora/{name}"}) for name in ("strong", "odd")]
    assert np.array_equal(*map(pixels, responses))


def test_out_of_memory_is_retried_with_smaller_batches_and_then_reported(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapted = {**BASE, "lora_path": "lora/strong", "batch": 2}
    before, expected = (
        pixels(client.post("/generate", json=BASE)),
        client.post("/generate", json={**adapted, "deterministic": True}),
    )
    generate, batch_sizes = ImageGenerator.generate, list[int]()

    def limited_generate(generator: ImageGenerator, batch: Any, on_step: Any, learned: Any, tile: int | None = None) -> Any:
        batch_sizes.append(len(batch))
        if len(batch) > max_batch_size:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return generate(generator, batch, on_step, learned, tile)

    monkeypatch.setattr(ImageGenerator, "generate", limited_generate)
    max_batch_size = 1
    response = client.post("/generate", json=adapted)
    assert (batch_sizes, response.json()["meta"]["batch_size"]) == ([2, 1, 1], 1)
    assert np.array_equal(pixels(response, 1), pixels(expected, 1))
    max_batch_size = 0
    refused = client.post("/generate", json=adapted)
    assert (refused.status_code, "Ask for smaller" in refused.json()["detail"]) == (507, True)
    max_batch_size = 2
    assert np.array_equal(pixels(client.post("/generate", json=BASE)), before)


def test_an_unexpected_exception_is_only_logged_and_does_not_change_later_images(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    before = pixels(client.post("/generate", json=BASE))
    with monkeypatch.context() as patch:

        def fail(*_: object, **__: object) -> None:
            raise ZeroDivisionError("secret")

        patch.setattr(ImageGenerator, "generate", fail)
        response = TestClient(client.app, client.base_url, raise_server_exceptions=False).post(
            "/generate", json={**BASE, "lora_path": "lora/strong"}
        )
    assert (response.status_code, response.json()) == (500, {"detail": "internal server error; see the server's log"})
    assert f"request {response.headers['x-request-id']} failed" in caplog.text
    assert np.array_equal(pixels(client.post("/generate", json=BASE)), before)


def test_concurrent_requests_do_not_see_each_others_adapters(client: TestClient) -> None:
    base = {**BASE, "deterministic": True}
    adapted = {**base, "lora_path": "lora/strong", "lora_scale": 1.0}
    alone = [pixels(client.post("/generate", json=fields)) for fields in (base, adapted)]
    with ThreadPoolExecutor(4) as pool:
        concurrent = list(pool.map(lambda fields: pixels(client.post("/generate", json=fields)), [base, adapted] * 4))
    for index, image in enumerate(concurrent):
        assert np.array_equal(image, alone[index % 2])


def test_models_and_health_describe_the_server(client: TestClient) -> None:
    body = client.get("/models").json()
    assert body["family"] == "sdxl"
    assert body["resolution"] == 128
    assert "lora/strong/strong.safetensors" in body["loras"]
    assert (body["lora_loaded"], body["lora_path"]) == (False, None)
    assert client.get("/health/live").json() == {"status": "ok"}
    assert client.get("/health/ready").json() == {"ready": True, "failed": False, "reason": None}


@pytest.mark.parametrize("prefix", ["Z_LORA", "ZTHUMB_LORA"])
def test_the_default_adapter_is_applied_to_requests_that_name_none(
    models: Path, client: TestClient, monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    monkeypatch.setenv(f"{prefix}_PATH", "lora/strong/strong.safetensors")
    monkeypatch.setenv(f"{prefix}_SCALE", "0.5")
    with started(settings(models)) as client_with_default:
        body = client_with_default.get("/models").json()
        assert (body["lora_loaded"], body["lora_path"], body["lora_scale"]) == (True, "lora/strong/strong.safetensors", 0.5)
        by_default = pixels(client_with_default.post("/generate", json=BASE))
    named = {**BASE, "lora_path": "lora/strong/strong.safetensors", "lora_scale": 0.5}
    assert np.array_equal(by_default, pixels(client.post("/generate", json=named)))


def _metrics(client: TestClient) -> dict[str, float]:
    lines = [line for line in client.get("/metrics").text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def test_metrics_count_generated_images_and_refused_requests(client: TestClient) -> None:
    before = _metrics(client)
    client.post("/generate", json={**BASE, "steps": 1, "batch": 2})
    client.post("/generate", json={**BASE, "steps": 0})
    after = _metrics(client)
    images, refused = 'zthumb_images_total{variant="full"}', 'zthumb_refused_total{status="422"}'
    assert after[images] == before[images] + 2
    assert after[refused] == before.get(refused, 0) + 1
    assert (
        after['zthumb_generation_seconds_count{variant="full"}'] == before['zthumb_generation_seconds_count{variant="full"}'] + 1
    )
    assert (after["zthumb_ready"], after["zthumb_queue_depth"]) == (1, 0)


def test_a_folder_whose_file_is_a_link_out_of_the_models_folder_is_refused(
    client: TestClient, models: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "pytorch_lora_weights.safetensors"
    outside.write_bytes((models / "lora" / "strong" / "pytorch_lora_weights.safetensors").read_bytes())
    (models / "lora" / "link").mkdir()
    (models / "lora" / "link" / "pytorch_lora_weights.safetensors").symlink_to(outside)
    response = client.post("/generate", json={**BASE, "lora_path": "lora/link"})
    assert (response.status_code, "is a link out of the models folder" in response.text) == (422, True)


def test_pages_of_an_allowed_origin_may_call_with_a_key(models: Path) -> None:
    origin = "https://mine.example"
    with started(settings(models, api_keys="one", origins=origin)) as client:
        preflight = {"origin": origin, "access-control-request-method": "POST", "access-control-request-headers": "authorization"}
        allowed = client.options("/generate", headers=preflight)
        assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, origin)
        refused = client.post("/generate", json=BASE, headers={"origin": origin})
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, origin)
        headers = {"origin": origin, "authorization": "Bearer one"}
        assert client.post("/generate", json={**BASE, "steps": 1}, headers=headers).status_code == 200


def test_models_lists_the_verdict_on_an_adapter(client: TestClient, models: Path) -> None:
    folder = models / "lora" / "strong"
    verdict = Verdict(
        protocol_version=2,
        outcome="recommended",
        reason="the smallest of all",
        adapter="strong",
        adapter_sha256=hash_file(folder / "strong.safetensors"),
        base_sha256="b" * 64,
        lora_scale=0.6,
        metric="similarity",
        extractor="mini-clip",
        effect=Effect(mean=0.14, low=0.07, high=0.21, prompts=8),
        share_of_gap=None,
    )
    verdict_file = folder / "verdict.json"
    try:
        write_verdict(verdict_file, verdict)
        verdicts = client.get("/models").json()["verdicts"]
        assert list(verdicts) == ["lora/strong/strong.safetensors"]
        assert verdicts["lora/strong/strong.safetensors"]["lora_scale"] == 0.6
        assert verdicts["lora/strong/strong.safetensors"]["effect"]["low"] == 0.07
        # A verdict on another file and an invalid one are ignored.
        for text in (verdict_file.read_text().replace(str(verdict.adapter_sha256), "c" * 64), "{", "[]", '{"a": 1}'):
            verdict_file.write_text(text)
            assert client.get("/models").json()["verdicts"] == {}
    finally:
        verdict_file.unlink()


def test_models_has_the_device_and_precision(client: TestClient) -> None:
    body = client.get("/models").json()
    assert (body["device"], body["precision"]) == ("cuda" if torch.cuda.is_available() else "cpu", "fp32")


def test_an_isolated_batch_is_generated_at_once_and_is_bit_identical_whatever_other_requests_there_are(
    client: TestClient,
) -> None:
    request = {**BASE, "batch": 3, "isolated": True}
    alone = client.post("/generate", json=request)
    assert alone.json()["meta"]["batch_size"] == 3
    with ThreadPoolExecutor(6) as pool:
        others = [pool.submit(client.post, "/generate", json={**BASE, "seed": 50 + number}) for number in range(4)]
        again = pool.submit(client.post, "/generate", json=request).result()
        assert all(other.result().status_code == 200 for other in others)
    assert all(np.array_equal(pixels(alone, index), pixels(again, index)) for index in range(3))


def test_an_empty_list_of_adapters_means_no_adapter_not_even_the_default_one(models: Path) -> None:
    with started(settings(models, lora_path="lora/strong/strong.safetensors", lora_scale=1.0)) as client:
        default, empty = (client.post("/generate", json={**BASE, **loras}) for loras in ({}, {"loras": []}))
    assert [lora["weight"] for lora in default.json()["meta"]["loras"]] == [1.0]
    assert empty.json()["meta"]["loras"] == []
    assert not np.array_equal(pixels(default), pixels(empty))


def test_the_page_of_the_api_needs_no_other_host(client: TestClient) -> None:
    page = client.get("/docs")
    assert "http" not in page.text.replace("http-equiv", "")
    for address in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        assert client.get(address).status_code == 200
    assert client.get("/docs/core.py").status_code == 404
