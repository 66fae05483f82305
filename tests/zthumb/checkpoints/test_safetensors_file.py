import hashlib
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save

from zthumb.checkpoints import safetensors_file

NAMES = st.text(st.characters(categories=("Ll", "Nd")), min_size=1, max_size=8)


@given(
    st.dictionaries(NAMES, st.integers(1, 7), min_size=1, max_size=4), st.dictionaries(NAMES, st.text(max_size=30), max_size=6)
)
def test_the_safetensors_library_reads_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, sizes: dict[str, int], metadata: dict[str, str]
) -> None:
    file = tmp_path_factory.mktemp("file") / "x.safetensors"
    tensors = {name: torch.arange(size, dtype=torch.float32) for name, size in sizes.items()}
    safetensors_file.write(tensors, metadata, file)
    with safe_open(file, "pt") as opened:
        assert opened.metadata() == metadata
        assert {name: opened.get_tensor(name).tolist() for name in opened.keys()} == {  # noqa: SIM118
            name: tensor.tolist() for name, tensor in tensors.items()
        }


def test_the_order_of_metadata_and_tensors_does_not_change_the_bytes(tmp_path: Path) -> None:
    a, b = torch.ones(2), torch.zeros(3)
    safetensors_file.write({"a": a, "b": b}, {"x": "1", "y": "2"}, tmp_path / "one")
    safetensors_file.write({"b": b, "a": a}, {"y": "2", "x": "1"}, tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_the_hash_is_that_of_the_bytes_after_the_header(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(5.0)}
    safetensors_file.write(tensors, {"x": "1"}, tmp_path / "x")
    data = (tmp_path / "x").read_bytes()
    body = data[8 + int.from_bytes(data[:8], "little") :]
    assert safetensors_file.body_hash(tensors) == hashlib.sha256(body).hexdigest()
    assert len(body) == 20


def test_the_legacy_hash_is_of_one_range_of_the_file() -> None:
    small, large = {"a": torch.arange(5.0)}, {"a": torch.arange(400_000.0)}
    assert safetensors_file.legacy_hash(small, {}) == hashlib.sha256(b"").hexdigest()[:8]
    # Only kohya's metadata is part of the hashed file.
    file, metadata = save(large, {"ss_steps": "7"}), {"ss_steps": "7", "modelspec.title": "x"}
    assert safetensors_file.legacy_hash(large, metadata) == hashlib.sha256(file[0x100000:0x110000]).hexdigest()[:8]
