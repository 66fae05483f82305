"""Words with learned embeddings (textual inversion) that adapters bring, over HTTP."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient

from tests.adapters import MINI_SDXL, random_adapter
from tests.conftest import MINIATURE
from tests.zthumb.server.conftest import pixels, settings, started
from zthumb import families
from zthumb.adapters import textual_inversion
from zthumb.adapters.adapter import Adapter
from zthumb.adapters.layouts import save_kohya
from zthumb.adapters.textual_inversion import LearnedEmbedding

WITH_WORD, WITHOUT_WORD = "a zbadge at the left", "a red star at the left"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with an adapter that has a learned word, the same one without it, and one whose word is an outside link."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "mini-sdxl").symlink_to(MINIATURE)
    layers = dict(list(random_adapter(MINIATURE).layers.items())[:3])
    embedding = torch.randn(2, 128, generator=torch.Generator().manual_seed(0))
    for name in ("taught", "plain", "linked"):
        (folder / "lora" / name).mkdir(parents=True)
        save_kohya(Adapter(layers), folder / "lora" / name / f"{name}.safetensors", *MINI_SDXL, {"ss_v2": "False"})
    vectors = {part: embedding.clone() for part in ("text_encoder", "text_encoder_2")}
    textual_inversion.save(
        LearnedEmbedding("zbadge", vectors), folder / "lora/taught/taught_emb.safetensors", families.get("sdxl")
    )
    outside = tmp_path_factory.mktemp("outside") / "x_emb.safetensors"
    outside.write_bytes((folder / "lora/taught/taught_emb.safetensors").read_bytes())
    (folder / "lora/linked/linked_emb.safetensors").symlink_to(outside)
    return folder


@pytest.fixture(scope="module")
def client(models: Path) -> Iterator[TestClient]:
    with started(settings(models)) as client:
        yield client


def _generate(client: TestClient, prompt: str, *loras: dict[str, object]) -> np.ndarray:
    request = {"prompt": prompt, "seed": 3, "steps": 4, "width": 128, "height": 128, "loras": list(loras)}
    return pixels(client.post("/generate", json=request))


def test_a_learned_word_has_an_effect_only_with_its_adapter(client: TestClient) -> None:
    base = _generate(client, WITH_WORD)
    taught, plain = ({"id": name, "weight": 0.8} for name in ("taught", "plain"))
    assert not np.array_equal(_generate(client, WITH_WORD, taught), _generate(client, WITH_WORD, plain))
    assert np.array_equal(_generate(client, WITHOUT_WORD, taught), _generate(client, WITHOUT_WORD, plain))
    assert np.array_equal(_generate(client, WITH_WORD, {"id": "taught", "weight": 0}), base)
    assert np.array_equal(_generate(client, WITH_WORD), base)


def test_the_response_names_the_learned_words(client: TestClient) -> None:
    request = {"prompt": WITH_WORD, "steps": 1, "loras": [{"id": "taught"}]}
    assert client.post("/generate", json=request).json()["meta"]["learned_tokens"] == ["zbadge"]


def test_the_file_of_a_learned_word_is_not_listed_as_an_adapter(client: TestClient) -> None:
    assert sorted(client.get("/models").json()["lora_ids"]) == ["linked", "plain", "taught"]
    assert not any("_emb" in path for path in client.get("/models").json()["loras"])


def test_a_learned_word_from_outside_the_models_folder_is_refused(client: TestClient) -> None:
    response = client.post("/generate", json={"prompt": WITH_WORD, "steps": 1, "loras": [{"id": "linked"}]})
    assert response.status_code == 422
    assert "is a link out of the models folder" in response.text
