"""The variant in few bits, over HTTP: it generates what the whole one generates, takes adapters, and says what it is."""

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
from tests.adapters import random_adapter
from tests.conftest import MINIATURE
from tests.zthumb.server.conftest import pixels, settings, started
from zthumb import families
from zthumb.adapters.adapter import Adapter
from zthumb.adapters.layouts import save_kohya
from zthumb.generation.image_generator import ImageGenerator
from zthumb.gguf.write import write
from zthumb.server.app import create_app

pytestmark = pytest.mark.slow

STAR = {"prompt": "a photo of a large red star on a blue background", "seed": 5, "steps": 12, "deterministic": True}
FEW_BITS = {**STAR, "variant": "gguf"}


@pytest.fixture(scope="module")
def with_gguf(models: Path) -> Iterator[TestClient]:
    write(MINIATURE, families.get("sdxl"), "q5_0", models / "mini-sdxl.gguf")
    with started(settings(models)) as client:
        yield client


def test_it_generates_what_the_whole_one_generates(with_gguf: TestClient) -> None:
    whole, answer = pixels(with_gguf.post("/generate", json=STAR)), with_gguf.post("/generate", json=FEW_BITS)
    few = pixels(answer)
    seen = geometry.read(few)
    assert (seen.background, seen.colour, seen.shape) == ("blue", "red", "star")
    difference = np.abs(few.astype(float) - whole.astype(float)).mean()
    assert 0 < difference < 10
    assert answer.json()["meta"]["variant"] == "gguf"


def test_an_adapter_counts_on_top_and_is_gone_afterwards(with_gguf: TestClient) -> None:
    before = pixels(with_gguf.post("/generate", json=FEW_BITS))
    adapted = pixels(with_gguf.post("/generate", json={**FEW_BITS, "loras": [{"id": "strong", "weight": 1.0}]}))
    assert np.abs(adapted.astype(float) - before.astype(float)).mean() > 0.5
    assert np.array_equal(pixels(with_gguf.post("/generate", json=FEW_BITS)), before)


def test_where_memory_is_short_other_variants_are_given_back_and_loaded_again(
    with_gguf: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = [pixels(with_gguf.post("/generate", json=asked)) for asked in (STAR, FEW_BITS)]
    generate, failures = ImageGenerator.generate, iter([torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")])

    def short_of_memory_once(*arguments: Any) -> Any:
        for error in failures:
            raise error
        return generate(*arguments)

    monkeypatch.setattr(ImageGenerator, "generate", short_of_memory_once)
    assert np.array_equal(pixels(with_gguf.post("/generate", json=STAR)), before[0])

    told = with_gguf.get("/capabilities").json()["variants"]
    assert (told["full"]["is_loaded"], told["gguf"]["is_loaded"]) == (True, False)
    assert np.array_equal(pixels(with_gguf.post("/generate", json=FEW_BITS)), before[1])
    assert with_gguf.get("/capabilities").json()["variants"]["gguf"]["is_loaded"]


def test_it_is_told_beside_the_others(with_gguf: TestClient) -> None:
    told = with_gguf.get("/capabilities").json()["variants"]
    assert list(told) == ["full", "gguf"]
    assert told["gguf"]["base"] == "mini-sdxl.gguf"


def test_one_that_is_not_here_is_an_error_that_says_how_to_get_it(client: TestClient) -> None:
    answer = client.post("/generate", json={"prompt": "x", "variant": "ggfu"})
    assert answer.status_code == 422
    assert "none is called 'ggfu'" in answer.text


def test_a_dora_is_refused_and_leaves_no_trace(with_gguf: TestClient, models: Path) -> None:
    before = pixels(with_gguf.post("/generate", json=FEW_BITS))
    layers = {
        path: each for path, each in random_adapter(MINIATURE).layers.items() if path.startswith("unet.") and each.up.dim() == 2
    }
    dora = Adapter({path: replace(each, magnitude=torch.ones(each.up.shape[0])) for path, each in list(layers.items())[:2]})
    (models / "lora" / "dora").mkdir()
    save_kohya(dora, models / "lora" / "dora" / "dora.safetensors", 1, {"ss_v2": "False"})
    answer = with_gguf.post("/generate", json={**FEW_BITS, "loras": [{"id": "dora"}]})
    assert answer.status_code == 422
    assert "take variant full" in answer.text
    assert np.array_equal(pixels(with_gguf.post("/generate", json=FEW_BITS)), before)


def test_a_bad_file_is_told_without_where_it_lies(tmp_path: Path, models: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "x.gguf").write_bytes(b"no")
    with started(settings(models, gguf_model=str(tmp_path / "secret" / "x.gguf"))) as client:
        answer = client.post("/generate", json=FEW_BITS)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("x.gguf: not a GGUF file")


def test_a_file_that_was_named_and_is_not_there_is_an_error_at_once(models: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="ZTHUMB_GGUF_MODEL"):
        create_app(settings(models, gguf_model=str(tmp_path / "gone.gguf")))
