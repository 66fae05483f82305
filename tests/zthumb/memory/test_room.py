import errno
import json
import struct
from pathlib import Path

import pytest
import torch

from zthumb.memory import room


def test_weights_are_counted_by_their_headers(miniature: Path) -> None:
    files = list(miniature.rglob("*.safetensors"))
    # They are stored in two bytes a number, behind headers of a few per cent.
    stored = sum(path.stat().st_size for path in files)
    assert 0.95 * stored < room.weights(miniature, element=2) < stored
    assert room.weights(miniature, element=4) == 2 * room.weights(miniature, element=2)


def test_of_several_precisions_the_plain_one_is_counted(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text("{}")
    header = json.dumps({"a": {"dtype": "F32", "shape": [3, 5], "data_offsets": [0, 60]}, "__metadata__": {}}).encode()
    (tmp_path / "unet").mkdir()
    (tmp_path / "model_index.json").write_text('{"unet": ["diffusers", "UNet2DConditionModel"]}')
    for name in ("model.safetensors", "model.fp16.safetensors"):
        (tmp_path / "unet" / name).write_bytes(struct.pack("<Q", len(header)) + header)
    assert room.weights(tmp_path, element=4) == 60


def test_this_machine_has_some_free() -> None:
    assert 2**20 < room.free(torch.device("cpu")) < 2**50


@pytest.mark.parametrize(
    ("error", "is_short"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (OSError(errno.ENOSPC, "No space left on device"), False),
    ],
)
def test_only_a_lack_of_memory_is_one(error: Exception, is_short: bool) -> None:
    assert room.is_short(error) == is_short
