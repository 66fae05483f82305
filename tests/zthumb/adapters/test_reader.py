from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from foundation.errors import BadInput
from zthumb.adapters import reader


@given(st.binary(max_size=400))
def test_bytes_that_are_no_safetensors_are_refused_in_one_line(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.mktemp("bytes") / "x.safetensors"
    file.write_bytes(data)
    with pytest.raises(BadInput) as error:
        reader.read(file)
    assert "\n" not in str(error.value)


@given(st.dictionaries(st.from_regex(r"[a-z_.]{1,20}", fullmatch=True), st.integers(1, 5), min_size=1, max_size=5))
def test_the_shapes_in_a_real_file_are_read(tmp_path_factory: pytest.TempPathFactory, sizes: dict[str, int]) -> None:
    file = tmp_path_factory.mktemp("file") / "x.safetensors"
    save_file({name: torch.zeros(size, 2) for name, size in sizes.items()}, file, metadata={"who": "me"})
    read = reader.read(file)
    assert read.shapes == {name: (size, 2) for name, size in sizes.items()}
    assert read.metadata == {"who": "me"}


def test_only_safetensors_are_opened(tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(b"pickle")
    with pytest.raises(BadInput, match=r"only \.safetensors"):
        reader.read(tmp_path / "x.pt")
    with pytest.raises(BadInput, match="no adapter is there"):
        reader.read(tmp_path / "gone.safetensors")
