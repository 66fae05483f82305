"""Fixtures: a models folder and a server of the miniature model, driven over HTTP."""

import base64
import contextlib
import io
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from PIL import Image

from tests.adapters import MINI_SDXL, random_adapter
from tests.conftest import MINIATURE
from zthumb.adapters.layouts import save_diffusers, save_kohya
from zthumb.server.app import create_app
from zthumb.server.settings import Settings
from zthumb.sources.resolve import Resolver


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with the miniature model and one strong adapter in both layouts."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "mini-sdxl").symlink_to(MINIATURE)
    adapter = random_adapter(MINIATURE)
    (folder / "lora" / "strong").mkdir(parents=True)
    save_kohya(adapter, folder / "lora" / "strong" / "strong.safetensors", *MINI_SDXL, {"ss_v2": "False"})
    save_diffusers(adapter, folder / "lora" / "strong" / "pytorch_lora_weights.safetensors")
    return folder


@contextlib.contextmanager
def started(settings: Settings, resolver: Resolver | None = None) -> Iterator[TestClient]:
    """Yield a client of a server that is ready, that is has generated its first image."""
    with TestClient(create_app(settings, resolver), base_url="http://127.0.0.1:8000", client=("127.0.0.1", 1)) as client:
        for _ in range(4000):
            status = client.get("/health/ready").json()
            assert not status["failed"], status["reason"]
            if status["ready"]:
                break
            time.sleep(0.05)
        yield client


def settings(models: Path, **values: Any) -> Settings:
    """Return settings for a server of the miniature model that keeps its jobs in a folder of its own."""
    data_folder = Path(tempfile.mkdtemp(dir=models.parent))
    return Settings(
        **{
            "model": str(models / "mini-sdxl"),
            "models_folder": models,
            "data_folder": data_folder,
            "download_on_request": False,
            **values,
        }
    )


@pytest.fixture(scope="module")
def client(models: Path) -> Iterator[TestClient]:
    with started(settings(models)) as client:
        yield client


def pixels(response: Any, index: int = 0) -> NDArray[np.uint8]:
    """Return the pixels of an image in a response."""
    assert response.status_code == 200, response.text
    data = base64.b64decode(response.json()["images"][index]["b64_json"])
    return np.asarray(Image.open(io.BytesIO(data)))
