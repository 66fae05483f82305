"""Malicious adapter files, over HTTP: each is refused with a reason, and later images are unchanged."""

import json
import os
import pickle
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from safetensors.torch import load_file, save, save_file

from tests.conftest import MINIATURE
from tests.zthumb.server.conftest import pixels, settings, started

REQUEST = {"prompt": "a red star", "seed": 3, "steps": 2}


def _safetensors(entries: Any, body: bytes = b"", length: int | None = None) -> bytes:
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


def _tensor(shape: list[int], start: int, end: int) -> dict[str, Any]:
    return {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}


def _strong(folder: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> bytes:
    """Return a valid adapter file after one ``change`` to its tensors."""
    save_file(change(load_file(folder / "lora" / "strong" / "strong.safetensors")), folder / "changed.safetensors")
    return (folder / "changed.safetensors").read_bytes()


class _Payload:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, ("touch /tmp/zthumb-was-here",))


QUERY = "lora_unet_middle_block_1_transformer_blocks_0_attn1_to_q"
HOSTILE: dict[str, tuple[bytes | None, str]] = {
    "empty": (b"", "not a safetensors file"),
    "short": (b"\x10\x00", "not a safetensors file"),
    "pickle": (pickle.dumps(_Payload()), "not a safetensors file"),
    "header-of-a-terabyte": (_safetensors({}, length=2**40), "declares a header"),
    "header-beyond-the-file": (_safetensors({}, length=5000), "truncated"),
    "no-json": (_safetensors(b"{]"), "not valid JSON"),
    "deep-json": (_safetensors(b"[" * 100_000 + b"]" * 100_000), "not valid JSON"),
    "list": (_safetensors([]), "not a JSON object"),
    "no-tensors": (_safetensors({}), "no LoRA weights"),
    "not-there": (_safetensors({f"{QUERY}.lora_down.weight": _tensor([4, 128], 0, 2048)}), "truncated"),
    "huge": (_safetensors({f"{QUERY}.lora_down.weight": _tensor([2**31, 2**31], 0, 2**62)}), "truncated"),
    "negative": (_safetensors({f"{QUERY}.lora_down.weight": _tensor([-4, 128], -8, 0)}, b"x" * 8), ""),
    "shape-of-words": (
        _safetensors({f"{QUERY}.lora_down.weight": {"dtype": "F32", "shape": "ab", "data_offsets": [0, 1]}}, b"x"),
        "",
    ),
    "control-characters": (_safetensors({"a\u0000\u001b[2J": _tensor([1], 0, 4)}, b"0000"), "control characters"),
    "loha": (_safetensors({f"{QUERY}.hada_w1_a": _tensor([1], 0, 4)}, b"0000"), "a LoHa"),
}


@pytest.fixture(scope="module")
def client(models: Path) -> Iterator[TestClient]:
    lora = models / "lora"
    for name, (data, _) in HOSTILE.items():
        (lora / name).mkdir()
        (lora / name / f"{name}.safetensors").write_bytes(data or b"")
    changes = {
        "nan": lambda tensors: {name: values * float("nan") for name, values in tensors.items()},
        "infinite": lambda tensors: {name: values + float("inf") for name, values in tensors.items()},
        "other-base": lambda tensors: {name: torch.ones(3, 5) if "lora_down" in name else v for name, v in tensors.items()},
        "half": lambda tensors: {name: values for name, values in tensors.items() if "lora_up" not in name},
        "stranger": lambda tensors: {**tensors, "lora_unet_nothing.lora_down.weight": torch.ones(4, 4)},
        "zero": lambda tensors: {name: values * 0 if "lora_up" in name else values for name, values in tensors.items()},
        "rank-zero": lambda tensors: {name: values[:0] if "lora_down" in name else values for name, values in tensors.items()},
    }
    for name, change in changes.items():
        (lora / name).mkdir()
        (lora / name / f"{name}.safetensors").write_bytes(_strong(models, change))
    embeddings = {
        "word-of-no-shape": {name: torch.tensor(1.0) for name in ("clip_l", "clip_g")},
        "word-of-one-encoder": {"clip_l": torch.ones(1, 128)},
    }
    files = {name: save(tensors) for name, tensors in embeddings.items()}
    files["word-that-is-not-there"] = _safetensors(
        {name: _tensor([20_000_000, 128], 0, 4) for name in ("clip_l", "clip_g")}, b"0000"
    )
    files["word-of-no-type"] = _safetensors(
        {name: {**_tensor([1, 128], 0, 512), "dtype": "X9"} for name in ("clip_l", "clip_g")}, b"0" * 512
    )
    for name, data in files.items():
        (lora / name).mkdir()
        (lora / name / f"{name}.safetensors").write_bytes(_strong(models, lambda tensors: tensors))
        (lora / name / f"{name}_emb.safetensors").write_bytes(data)
    (lora / "device").mkdir()
    (lora / "device" / "device.safetensors").symlink_to("/dev/zero")
    (lora / "pipe").mkdir()
    os.mkfifo(lora / "pipe" / "pipe.safetensors")
    (lora / "folder" / "folder.safetensors").mkdir(parents=True)
    (lora / "circle").mkdir()
    (lora / "circle" / "circle.safetensors").symlink_to(lora / "circle" / "circle.safetensors")
    with started(settings(models)) as client:
        yield client


REASONS = {
    **{name: reason for name, (_, reason) in HOSTILE.items()},
    "nan": "NaN or infinity",
    "infinite": "NaN or infinity",
    "other-base": "for another base",
    "half": "has no up weight",
    "stranger": "for another base",
    "zero": "changes nothing",
    "rank-zero": "",
    "word-of-no-shape": "learned tokens for another base",
    "word-of-one-encoder": "one for each text encoder",
    "word-that-is-not-there": "",
    "word-of-no-type": "",
    "device": "",
    "pipe": "",
    "folder": "",
    "circle": "",
}


@pytest.mark.parametrize("name", sorted(REASONS))
def test_a_malicious_adapter_is_refused_and_leaves_no_trace(client: TestClient, name: str) -> None:
    before = pixels(client.post("/generate", json=REQUEST))
    for lora in ({"id": name}, {"path": f"lora/{name}/{name}.safetensors"}):
        response = client.post("/generate", json={**REQUEST, "loras": [lora]})
        assert response.status_code == 422, response.text
        assert REASONS[name] in response.text
        detail = response.json()["detail"]
        assert "Traceback" not in detail
        assert str(MINIATURE.parent) not in detail
        assert "/tmp" not in detail.replace("/tmp/zthumb-was-here", "")
    assert not Path("/tmp/zthumb-was-here").exists()
    assert np.array_equal(pixels(client.post("/generate", json=REQUEST)), before)


def test_a_malicious_adapter_next_to_a_good_one_leaves_no_trace_of_either(client: TestClient) -> None:
    before = pixels(client.post("/generate", json=REQUEST))
    for name in ("nan", "zero", "stranger"):
        response = client.post("/generate", json={**REQUEST, "loras": [{"id": "strong", "weight": 1}, {"id": name}]})
        assert response.status_code == 422
        assert np.array_equal(pixels(client.post("/generate", json=REQUEST)), before)


def test_models_and_refs_work_with_malicious_files_in_the_folder(client: TestClient) -> None:
    assert client.get("/models").status_code == 200
    assert client.post("/generate", json={**REQUEST, "loras": [{"ref": "sha256:00000000"}]}).status_code == 422
