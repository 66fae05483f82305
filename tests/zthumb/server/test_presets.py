"""Presets: validated, listed, and applied to requests; their models and adapters are named by any reference."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from foundation.errors import BadInput
from tests.conftest import MINIATURE, ROOT
from tests.zthumb.published import write_single_file
from tests.zthumb.server.conftest import pixels, settings, started
from tests.zthumb.sources.fake_civitai import FakeCivitai, running_civitai
from zthumb.server import presets
from zthumb.server.api.schemas import GenerateRequest
from zthumb.server.main import main
from zthumb.server.queue import backend_pool
from zthumb.sources.resolve import Resolver


def _write_preset(folder: Path, name: str, **values: Any) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(json.dumps({"purpose": "a test", **values}), encoding="utf-8")
    return path


def test_the_presets_of_this_project_are_valid() -> None:
    shipped = presets.read_presets(ROOT / "presets")
    assert {"mini", "mini-fast", "sdxl", "sdxl-fast", "sdxl-photo"} <= shipped.keys()
    assert shipped["mini"].steps == 25


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"stepz": 3}, r"a.json: unknown key 'stepz'. Did you mean 'steps'\?"),
        ({"steps": 0}, "a.json: steps: Input should be greater than or equal to 1"),
        ({"prompt": "a photo"}, "a.json: prompt: .*where the request's prompt goes"),
        ({"variant": "ful"}, "a.json: variant: .*Did you mean 'full'"),
        ({"prompt_parser": "lpv"}, "a.json: prompt_parser: .*Did you mean 'lpw'"),
        ({"base": "http://example.org/a"}, "a.json: base: .*only https"),
        ({"scheduler": "eulr"}, "a.json: scheduler: "),
        ({"loras": [{"ref": "civitai:1@2", "weight": 101}]}, "a.json: loras.0.weight: "),
        ({"loras": [{"ref": "civitai:1@2"}, {"ref": "not a ref"}]}, "a.json: loras.1.ref: .*names nothing"),
        ({"base": "sdxl-bas-1.0"}, "a.json: base: .*not in the catalogue"),
        ({"vae": "models/nothing"}, "a.json: vae: .*does not exist"),
        ({"variant": "turbo", "steps": 40}, "a.json: .*40 is not supported by variant turbo, which takes 1 to 16"),
        ({"loras": [{"ref": "civitai:1@2", "triggers": ["x" * 150, "y" * 150]}]}, "a.json: loras.trigger: .*at most 200"),
    ],
)
def test_the_error_of_an_invalid_preset_names_the_file_and_the_key(tmp_path: Path, values: dict[str, Any], message: str) -> None:
    _write_preset(tmp_path, "a.json", **values)
    with pytest.raises(BadInput, match=message):
        presets.read_presets(tmp_path)


def test_an_invalid_preset_keeps_the_server_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _write_preset(tmp_path, "a.json", steps="many")
    monkeypatch.setenv("ZTHUMB_PRESETS_FOLDER", str(tmp_path))
    assert main(["--port", "0", "--model", str(MINIATURE)]) == 2
    assert "a.json: steps: " in capsys.readouterr().err


def test_two_presets_with_the_same_name_are_refused(tmp_path: Path) -> None:
    _write_preset(tmp_path, "a.json")
    _write_preset(tmp_path, "a.yaml")
    with pytest.raises(BadInput, match="another preset called a"):
        presets.read_presets(tmp_path)


def test_fields_of_the_request_override_the_preset() -> None:
    preset = presets.Preset(purpose="x", steps=8, cfg=3, prompt="a photo of {prompt}, sharp", negative_prompt="blur")
    request = preset.apply_to(GenerateRequest(prompt="a star", cfg=7))
    assert (request.prompt, request.steps, request.cfg, request.negative_prompt) == ("a photo of a star, sharp", 8, 7, "blur")


def test_adapters_of_the_request_replace_the_presets_adapters() -> None:
    preset = presets.Preset(purpose="x", loras=(presets.PresetLora(ref="models/lora/a", triggers=("one", "two")),))
    (lora,) = preset.apply_to(GenerateRequest(prompt="a star")).loras or []
    assert (lora.ref, lora.weight, lora.trigger, lora.trigger_weight) == ("models/lora/a", 1, "one, two", 1)
    assert preset.apply_to(GenerateRequest(prompt="a star", loras=[])).loras == []


@pytest.fixture(scope="module")
def fake_civitai(tmp_path_factory: pytest.TempPathFactory, authority: Any, certificate: Any) -> Iterator[FakeCivitai]:
    with running_civitai(tmp_path_factory.mktemp("civitai"), authority, certificate) as fake_civitai:
        yield fake_civitai


@pytest.fixture(scope="module")
def client(models: Path, fake_civitai: FakeCivitai, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A server of the miniature with presets, and a fake Civitai that it may download from."""
    folder, single = tmp_path_factory.mktemp("presets"), models / "single.safetensors"
    write_single_file(MINIATURE, single)
    adapter = (models / "lora" / "strong" / "strong.safetensors").read_bytes()
    civitai_file = {
        "id": 2,
        "name": "badge.safetensors",
        "primary": True,
        "hashes": {"SHA256": hashlib.sha256(adapter).hexdigest()},
    }
    version = {"id": 7, "modelId": 5, "baseModel": "SDXL 1.0", "trainedWords": ["zbadge"], "model": {"type": "LORA"}}
    version["files"] = [{**civitai_file, "downloadUrl": fake_civitai.url("/get/2")}]
    fake_civitai.files |= {"/api/v1/model-versions/7": json.dumps(version).encode(), "/get/2": adapter}
    _write_preset(folder, "single.json", base=str(single), steps=4, cfg=1, prompt="a photo of {prompt}")
    _write_preset(folder, "vae.json", vae=str(models / "mini-sdxl" / "vae"), steps=4, cfg=1, prompt="a photo of {prompt}")
    _write_preset(folder, "own.json", steps=4, cfg=1, prompt="a photo of {prompt}")
    _write_preset(folder, "fast.json", base="models/mini-sdxl", variant="turbo", steps=2)
    _write_preset(folder, "badge.json", steps=4, cfg=1, loras=[{"ref": "civitai:5@7", "weight": 0.7, "triggers": ["zbadge"]}])
    _write_preset(folder, "away.json", base="someone/away")
    server_settings = settings(models, presets_folder=folder, output_format="webp")
    resolver = Resolver(models, fake_civitai.policy(), civitai_host=fake_civitai.url(""))
    with started(server_settings, resolver) as client:
        yield client


def _generate(client: TestClient, **values: Any) -> Any:
    return client.post("/generate", json={"seed": 3, "output_format": "png", **values})


def test_presets_are_listed_with_their_settings(client: TestClient) -> None:
    listed = client.get("/presets").json()["presets"]
    assert sorted(listed) == ["away", "badge", "fast", "own", "single", "vae"]
    assert listed["badge"]["loras"] == [{"ref": "civitai:5@7", "weight": 0.7, "triggers": ["zbadge"]}]
    assert listed["own"]["is_here"]
    assert not listed["away"]["is_here"]


@pytest.mark.slow
def test_a_single_file_checkpoint_generates_the_same_image_as_its_folder(client: TestClient) -> None:
    by_file, by_folder = (_generate(client, prompt="a red star", preset=name) for name in ("single", "own"))
    assert np.array_equal(pixels(by_file), pixels(by_folder))
    assert by_file.json()["meta"]["base"].endswith("single.safetensors")
    assert by_folder.json()["meta"]["base"].endswith("mini-sdxl")


@pytest.mark.slow
def test_the_requested_base_replaces_the_loaded_one_if_both_do_not_fit(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = pixels(_generate(client, prompt="a red star", preset="own", deterministic=True))
    monkeypatch.setattr(backend_pool, "free_bytes", lambda *_: 0)
    response = _generate(client, prompt="a red star", preset="vae", deterministic=True)
    # The same image, because the autoencoder is the same, and it was not decoded in tiles
    assert np.array_equal(pixels(response), before)
    assert response.json()["warnings"] == []
    assert not client.get("/capabilities").json()["variants"]["full"]["is_loaded"]
    assert np.array_equal(pixels(_generate(client, prompt="a red star", preset="own", deterministic=True)), before)


@pytest.mark.slow
def test_a_preset_gives_the_same_image_as_its_settings_in_the_request(client: TestClient) -> None:
    by_name = _generate(client, prompt="a red star", preset="own")
    in_full = _generate(client, prompt="a photo of a red star", steps=4, cfg=1)
    assert np.array_equal(pixels(by_name), pixels(in_full))


@pytest.mark.slow
def test_the_variant_of_another_base_is_found_next_to_it(client: TestClient) -> None:
    assert _generate(client, prompt="a star", preset="fast").json()["meta"]["variant"] == "turbo"


@pytest.mark.slow
def test_adapters_of_a_preset_are_downloaded_even_if_requests_may_not_download(
    client: TestClient, fake_civitai: FakeCivitai
) -> None:
    refused = _generate(client, prompt="a star", loras=[{"ref": "civitai:5@7"}])
    assert refused.status_code == 422
    assert "must be downloaded first" in refused.text
    by_name = _generate(client, prompt="a star", preset="badge")
    lora = {"id": "strong", "weight": 0.7, "trigger": "zbadge", "trigger_weight": 1}
    in_full = _generate(client, prompt="a star", steps=4, cfg=1, loras=[lora])
    assert np.array_equal(pixels(by_name), pixels(in_full))
    assert by_name.json()["meta"]["loras"][0]["trigger"] == "zbadge"
    # A request may name an adapter that was downloaded before
    requests_before = len(fake_civitai.requests)
    assert _generate(client, prompt="a star", steps=2, loras=[{"ref": "civitai:5@7"}]).status_code == 200
    assert len(fake_civitai.requests) == requests_before


def test_an_unknown_preset_is_refused_with_the_nearest_name(client: TestClient) -> None:
    response = _generate(client, prompt="x", preset="onw")
    assert response.status_code == 422
    assert "preset: there is no preset 'onw'. Did you mean 'own'?" in response.text


@pytest.mark.slow
def test_openai_clients_may_name_a_preset_as_their_model(client: TestClient) -> None:
    response = client.post("/v1/images/generations", json={"prompt": "a red star", "model": "own", "seed": 3})
    assert response.status_code == 200, response.text
    assert response.json()["meta"]["steps"] == 4
    assert response.json()["output_format"] == "webp"


@pytest.mark.slow
def test_the_training_resolution_is_the_default_size_and_the_original_size_of_the_conditioning(
    client: TestClient, models: Path
) -> None:
    # Given a server with that setting, whose base is a single file
    with_resolution = settings(models, model=str(models / "single.safetensors"), training_resolution="128x64")
    with started(with_resolution) as client_with_resolution:
        default_size = _generate(client_with_resolution, prompt="a star", steps=2, cfg=1)
        square = _generate(client_with_resolution, prompt="a star", steps=2, cfg=1, width=128, height=128)
    assert pixels(default_size).shape == (64, 128, 3)
    # Then an image of the usual size differs, because the base is conditioned on another original size
    usual = _generate(client, prompt="a star", steps=2, cfg=1)
    assert pixels(square).shape == pixels(usual).shape
    assert not np.array_equal(pixels(square), pixels(usual))
