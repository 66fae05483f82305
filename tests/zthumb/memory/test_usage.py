import errno
import json
import struct
from pathlib import Path

import pytest
import torch

from foundation.device import free_bytes
from zthumb.memory import usage


def test_the_size_of_weights_is_computed_from_their_headers(miniature: Path) -> None:
    files = list(miniature.rglob("*.safetensors"))
    # They are stored in two bytes per value, after headers of a few per cent of the size.
    stored = sum(path.stat().st_size for path in files)
    assert 0.95 * stored < usage.weights(miniature, element=2) < stored
    assert usage.weights(miniature, element=4) == 2 * usage.weights(miniature, element=2)


def test_fp16_variants_are_not_counted(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text("{}")
    header = json.dumps({"a": {"dtype": "F32", "shape": [3, 5], "data_offsets": [0, 60]}, "__metadata__": {}}).encode()
    (tmp_path / "unet").mkdir()
    (tmp_path / "model_index.json").write_text('{"unet": ["diffusers", "UNet2DConditionModel"]}')
    for name in ("model.safetensors", "model.fp16.safetensors"):
        (tmp_path / "unet" / name).write_bytes(struct.pack("<Q", len(header)) + header)
    assert usage.weights(tmp_path, element=4) == 60


def test_this_machine_has_free_memory() -> None:
    assert 2**20 < free_bytes(torch.device("cpu")) < 2**50


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
def test_only_errors_of_exhausted_memory_count_as_such(error: Exception, is_short: bool) -> None:
    assert usage.is_short(error) == is_short
