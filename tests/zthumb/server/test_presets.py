"""Presets: read, told, and generated as what they stand for; models and adapters by whatever names them."""

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
from tests.zthumb.sources.shop import Shop, opened
from zthumb.memory import room
from zthumb.server import presets
from zthumb.server.main import main
from zthumb.server.schemas import GenerateRequest
from zthumb.sources.resolve import Resolver


def _write(folder: Path, name: str, **values: Any) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(json.dumps({"purpose": "a test", **values}), encoding="utf-8")
    return path


def test_those_that_come_with_the_project_are_right() -> None:
    found = presets.read(ROOT / "presets")
    assert {"mini", "mini-fast", "sdxl", "sdxl-fast", "sdxl-photo"} <= found.keys()
    assert found["mini"].steps == 25


@pytest.mark.parametrize(
    ("values", "told"),
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
        ({"vae": "models/nothing"}, "a.json: vae: .*nothing is there"),
        ({"variant": "turbo", "steps": 40}, "a.json: .*40 is not what variant turbo can do, which is 1 to 4"),
        ({"loras": [{"ref": "civitai:1@2", "triggers": ["x" * 150, "y" * 150]}]}, "a.json: loras.trigger: .*at most 200"),
    ],
)
def test_a_wrong_one_says_which_file_and_where(tmp_path: Path, values: dict[str, Any], told: str) -> None:
    _write(tmp_path, "a.json", **values)
    with pytest.raises(BadInput, match=told):
        presets.read(tmp_path)


def test_a_wrong_one_keeps_the_server_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _write(tmp_path, "a.json", steps="many")
    monkeypatch.setenv("ZTHUMB_PRESETS_FOLDER", str(tmp_path))
    assert main(["--port", "0", "--model", str(MINIATURE)]) == 2
    assert "a.json: steps: " in capsys.readouterr().err


def test_two_of_one_name_are_refused(tmp_path: Path) -> None:
    _write(tmp_path, "a.json")
    _write(tmp_path, "a.yaml")
    with pytest.raises(BadInput, match="another preset called a"):
        presets.read(tmp_path)


def test_what_a_request_gives_itself_counts_first() -> None:
    preset = presets.Preset(purpose="x", steps=8, cfg=3, prompt="a photo of {prompt}, sharp", negative_prompt="blur")
    filled = preset.filled_in(GenerateRequest(prompt="a star", cfg=7))
    assert (filled.prompt, filled.steps, filled.cfg, filled.negative_prompt) == ("a photo of a star, sharp", 8, 7, "blur")


def test_adapters_of_a_request_take_the_place_of_the_presets() -> None:
    preset = presets.Preset(purpose="x", loras=(presets.PresetLora(ref="models/lora/a", triggers=("one", "two")),))
    (lora,) = preset.filled_in(GenerateRequest(prompt="a star")).loras or []
    assert (lora.ref, lora.weight, lora.trigger, lora.trigger_weight) == ("models/lora/a", 1, "one, two", 1)
    assert preset.filled_in(GenerateRequest(prompt="a star", loras=[])).loras == []


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, authority: Any, certificate: Any) -> Iterator[Shop]:
    with opened(tmp_path_factory.mktemp("shop"), authority, certificate) as shop:
        yield shop


@pytest.fixture(scope="module")
def client(models: Path, shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A server of the miniature with presets, and a shop that it may fetch from."""
    folder, single = tmp_path_factory.mktemp("presets"), models / "single.safetensors"
    write_single_file(MINIATURE, single)
    file = (models / "lora" / "strong" / "strong.safetensors").read_bytes()
    told = {"id": 2, "name": "badge.safetensors", "primary": True, "hashes": {"SHA256": hashlib.sha256(file).hexdigest()}}
    version = {"id": 7, "modelId": 5, "baseModel": "SDXL 1.0", "trainedWords": ["zbadge"], "model": {"type": "LORA"}}
    version["files"] = [{**told, "downloadUrl": shop.url("/get/2")}]
    shop.stock |= {"/api/v1/model-versions/7": json.dumps(version).encode(), "/get/2": file}
    _write(folder, "single.json", base=str(single), steps=4, cfg=1, prompt="a photo of {prompt}")
    _write(folder, "vae.json", vae=str(models / "mini-sdxl" / "vae"), steps=4, cfg=1, prompt="a photo of {prompt}")
    _write(folder, "own.json", steps=4, cfg=1, prompt="a photo of {prompt}")
    _write(folder, "fast.json", base="models/mini-sdxl", variant="turbo", steps=2)
    _write(folder, "badge.json", steps=4, cfg=1, loras=[{"ref": "civitai:5@7", "weight": 0.7, "triggers": ["zbadge"]}])
    _write(folder, "away.json", base="someone/away")
    own = settings(models, presets_folder=folder, output_format="webp")
    resolver = Resolver(models, shop.policy(), civitai_host=shop.url(""))
    with started(own, resolver) as client:
        yield client


def _asked(client: TestClient, **values: Any) -> Any:
    return client.post("/generate", json={"seed": 3, "output_format": "png", **values})


def test_they_are_listed_with_what_they_stand_for(client: TestClient) -> None:
    found = client.get("/presets").json()["presets"]
    assert sorted(found) == ["away", "badge", "fast", "own", "single", "vae"]
    assert found["badge"]["loras"] == [{"ref": "civitai:5@7", "weight": 0.7, "triggers": ["zbadge"]}]
    assert found["own"]["is_here"]
    assert not found["away"]["is_here"]


@pytest.mark.slow
def test_a_single_file_generates_the_very_image_of_the_folder_it_is_of(client: TestClient) -> None:
    by_file, by_folder = (_asked(client, prompt="a red star", preset=name) for name in ("single", "own"))
    assert np.array_equal(pixels(by_file), pixels(by_folder))
    assert by_file.json()["meta"]["base"].endswith("single.safetensors")
    assert by_folder.json()["meta"]["base"].endswith("mini-sdxl")


@pytest.mark.slow
def test_where_two_bases_do_not_fit_the_one_asked_for_takes_the_others_place(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = pixels(_asked(client, prompt="a red star", preset="own", deterministic=True))
    monkeypatch.setattr(room, "free", lambda _: 0)
    answer = _asked(client, prompt="a red star", preset="vae", deterministic=True)
    # The same image, for that is the same autoencoder, and not in tiles
    assert np.array_equal(pixels(answer), before)
    assert answer.json()["warnings"] == []
    assert not client.get("/capabilities").json()["variants"]["full"]["is_loaded"]
    assert np.array_equal(pixels(_asked(client, prompt="a red star", preset="own", deterministic=True)), before)


@pytest.mark.slow
def test_a_preset_is_the_request_it_stands_for(client: TestClient) -> None:
    by_name = _asked(client, prompt="a red star", preset="own")
    spelt = _asked(client, prompt="a photo of a red star", steps=4, cfg=1)
    assert np.array_equal(pixels(by_name), pixels(spelt))


@pytest.mark.slow
def test_a_variant_of_another_base_is_found_beside_it(client: TestClient) -> None:
    assert _asked(client, prompt="a star", preset="fast").json()["meta"]["variant"] == "turbo"


@pytest.mark.slow
def test_adapters_of_a_preset_are_fetched_though_requests_may_not_fetch(client: TestClient, shop: Shop) -> None:
    refused = _asked(client, prompt="a star", loras=[{"ref": "civitai:5@7"}])
    assert refused.status_code == 422
    assert "must be fetched first" in refused.text
    by_name = _asked(client, prompt="a star", preset="badge")
    beside = {"id": "strong", "weight": 0.7, "trigger": "zbadge", "trigger_weight": 1}
    spelt = _asked(client, prompt="a star", steps=4, cfg=1, loras=[beside])
    assert np.array_equal(pixels(by_name), pixels(spelt))
    assert by_name.json()["meta"]["loras"][0]["trigger"] == "zbadge"
    # What is here by now, a request may name
    asked = len(shop.asked)
    assert _asked(client, prompt="a star", steps=2, loras=[{"ref": "civitai:5@7"}]).status_code == 200
    assert len(shop.asked) == asked


def test_one_that_is_not_there_names_the_nearest(client: TestClient) -> None:
    answer = _asked(client, prompt="x", preset="onw")
    assert answer.status_code == 422
    assert "preset: none is called 'onw'. Did you mean 'own'?" in answer.text


@pytest.mark.slow
def test_clients_of_others_name_one_as_their_model(client: TestClient) -> None:
    answer = client.post("/v1/images/generations", json={"prompt": "a red star", "model": "own", "seed": 3})
    assert answer.status_code == 200, answer.text
    assert answer.json()["meta"]["steps"] == 4
    assert answer.json()["output_format"] == "webp"


@pytest.mark.slow
def test_what_the_base_was_trained_at_is_the_size_of_images_and_what_it_is_told(client: TestClient, models: Path) -> None:
    # Given a server that was told so, of a base that is one file
    told = settings(models, model=str(models / "single.safetensors"), training_resolution="128x64")
    with started(told) as other:
        made = _asked(other, prompt="a star", steps=2, cfg=1)
        square = _asked(other, prompt="a star", steps=2, cfg=1, width=128, height=128)
    assert pixels(made).shape == (64, 128, 3)
    # Then an image of the usual size is another, for the base is told that it was cut from one of that size
    usual = _asked(client, prompt="a star", steps=2, cfg=1)
    assert pixels(square).shape == pixels(usual).shape
    assert not np.array_equal(pixels(square), pixels(usual))
