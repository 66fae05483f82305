import json
from pathlib import Path

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors.torch import save_file

from foundation.errors import BadInput
from zthumb.checkpoints import header


@given(st.binary(max_size=400))
def test_bytes_that_are_not_safetensors_are_refused_in_one_line(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.mktemp("bytes") / "x.safetensors"
    file.write_bytes(data)
    with pytest.raises(BadInput) as error:
        header.read(file)
    assert "\n" not in str(error.value)


ENTRY = st.sampled_from(["shape", "dtype", "data_offsets", "x"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ENTRY, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=8), JSON, max_size=4))
@example({"x": {"shape": [float("inf")], "dtype": "F32", "data_offsets": [0, 4]}})
@example({"x\x1b[2J": {"shape": [0], "dtype": "F32", "data_offsets": [0, 0]}})
def test_headers_of_any_json_are_read_or_refused_in_one_line(tmp_path_factory: pytest.TempPathFactory, entries: object) -> None:
    file = tmp_path_factory.mktemp("json") / "x.safetensors"
    text = json.dumps(entries).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text)
    error = ""
    try:
        read = header.read(file)
    except BadInput as refusal:
        error = str(refusal)
    assert "\n" not in error
    assert error or all(isinstance(size, int) for shape in read.shapes.values() for size in shape)


@given(st.dictionaries(st.from_regex(r"[a-z_.]{1,20}", fullmatch=True), st.integers(1, 5), min_size=1, max_size=5))
def test_the_shapes_in_a_real_file_are_read(tmp_path_factory: pytest.TempPathFactory, sizes: dict[str, int]) -> None:
    file = tmp_path_factory.mktemp("file") / "x.safetensors"
    save_file({name: torch.zeros(size, 2) for name, size in sizes.items()}, file, metadata={"who": "me"})
    read = header.read(file)
    assert read.shapes == {name: (size, 2) for name, size in sizes.items()}
    assert read.metadata == {"who": "me"}


def test_an_oversized_header_is_refused_before_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes((10**12).to_bytes(8, "little") + b"{}")
    with pytest.raises(BadInput, match="a header of 1,000,000,000,000 bytes"):
        header.read(tmp_path / "x.safetensors")


def test_only_safetensors_files_are_opened(tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(b"pickle")
    with pytest.raises(BadInput, match="a pickle can run any program"):
        header.read(tmp_path / "x.pt")
    (tmp_path / "x.onnx").write_bytes(b"")
    with pytest.raises(BadInput, match=r"only \.safetensors"):
        header.read(tmp_path / "x.onnx")
    with pytest.raises(BadInput, match="no adapter found"):
        header.read(tmp_path / "gone.safetensors")
