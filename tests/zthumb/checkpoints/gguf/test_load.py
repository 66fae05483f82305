"""Files of every common program load as the denoiser that was written, with quantized weights kept quantized in memory."""

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType as Type
from numpy.typing import NDArray

from foundation.errors import BadInput
from tests.adapters import random_adapter
from tests.conftest import MINIATURE
from tests.zthumb.checkpoints.gguf.conftest import SDXL, Tensors, prediction, relative_error, write
from zthumb import families
from zthumb.adapters import apply, module_shapes
from zthumb.adapters.adapter import Adapter
from zthumb.backends.gguf import read_denoiser, write_denoiser
from zthumb.checkpoints.gguf import types
from zthumb.checkpoints.gguf.linear import BlockLinear


def _load(path: Path, dtype: torch.dtype = torch.float32) -> Any:
    return read_denoiser(path, MINIATURE, SDXL, dtype)


def _q8_type(_: str, values: NDArray[Any]) -> Type:
    if values.ndim == 1:
        return Type.F32
    return Type.Q8_0 if values.ndim == 2 and values.shape[1] % 32 == 0 else Type.F16


def _flatten(values: NDArray[Any]) -> NDArray[Any]:
    return values.reshape(-1, 256) if values.size % 256 == 0 and values.ndim > 1 else values


def _as_convolution(name: str, values: NDArray[Any]) -> NDArray[Any]:
    return values[..., None, None] if "proj_in.weight" in name or "proj_out.weight" in name else values


def _count_block_linears(denoiser: Any) -> int:
    return sum(isinstance(module, BlockLinear) for module in denoiser.modules())


def _count_linears(denoiser: Any) -> int:
    return sum(isinstance(module, torch.nn.Linear) for module in denoiser.modules())


# Largest relative error of a prediction per type: 1.5 times the measured one.
@pytest.mark.parametrize(
    ("kind", "max_error"), [("f16", 1e-6), ("q8_0", 0.003), ("q5_1", 0.025), ("q5_0", 0.03), ("q4_1", 0.055), ("q4_0", 0.05)]
)
@pytest.mark.parametrize("has_original_names", [False, True], ids=["diffusers", "original"])
def test_a_converted_denoiser_predicts_as_the_original(
    tmp_path: Path, denoiser: Any, kind: str, max_error: float, has_original_names: bool
) -> None:
    write_denoiser(MINIATURE, SDXL, kind, tmp_path / "x.gguf", has_original_names)
    loaded = _load(tmp_path / "x.gguf")
    assert relative_error(prediction(denoiser), prediction(loaded)) < max_error
    assert _count_block_linears(loaded) == (0 if kind == "f16" else _count_linears(denoiser))


def test_the_same_base_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_denoiser(MINIATURE, SDXL, "q8_0", tmp_path / f"{name}.gguf")
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()


def test_a_file_of_comfyui_whose_rows_are_not_whole_blocks_loads(tmp_path: Path, denoiser: Any, original: Tensors) -> None:
    # Given a file whose tensors are flattened to rows of 256, as ComfyUI-GGUF's converter does
    flat = {name: _flatten(values) for name, values in original.items()}
    shapes = {name: original[name].shape for name in flat if flat[name].shape != original[name].shape}
    assert any(len(shape) == 4 for shape in shapes.values())

    path = write(tmp_path / "x.gguf", flat, _q8_type, shapes=shapes)

    loaded = _load(path)
    assert relative_error(prediction(denoiser), prediction(loaded)) < 0.02
    assert _count_block_linears(loaded) == _count_linears(denoiser)


def test_a_whole_checkpoint_of_stable_diffusion_cpp_loads(tmp_path: Path, denoiser: Any, original: Tensors) -> None:
    # It writes projections as 1 × 1 convolutions, and the other components in the same file.
    prefixed = {f"model.diffusion_model.{name}": _as_convolution(name, values) for name, values in original.items()}
    checkpoint = {**prefixed, "first_stage_model.decoder.conv_in.weight": np.ones((4, 4), np.float32)}
    loaded = _load(write(tmp_path / "x.gguf", checkpoint, _q8_type, architecture=""))
    assert relative_error(prediction(denoiser), prediction(loaded)) < 0.02


def test_a_file_of_calcuis_with_its_own_architecture_name_loads(tmp_path: Path, denoiser: Any, original: Tensors) -> None:
    loaded = _load(write(tmp_path / "x.gguf", original, _q8_type, architecture="pig"))
    assert relative_error(prediction(denoiser), prediction(loaded)) < 0.02


def test_a_file_in_bfloat16_loads(tmp_path: Path, denoiser: Any, original: Tensors) -> None:
    def bf16_type(_: str, values: NDArray[Any]) -> Type:
        return Type.F32 if values.ndim == 1 else Type.BF16

    loaded = _load(write(tmp_path / "x.gguf", original, bf16_type))
    assert relative_error(prediction(denoiser), prediction(loaded)) < 0.02


@pytest.mark.parametrize("kind", [Type.Q2_K, Type.Q3_K, Type.Q4_K, Type.Q5_K, Type.Q6_K, Type.IQ4_NL, Type.IQ4_XS])
def test_types_that_are_only_read_dequantize_as_in_the_reference_implementation(
    tmp_path: Path, denoiser: Any, original: Tensors, kind: Type
) -> None:
    # Nothing here writes these types: the bytes are random, and the reference implementation says which weight they mean.
    name = SDXL.checkpoint_keys("unet", denoiser)["up_blocks.2.attentions.0.transformer_blocks.0.ff.net.2.weight"].name
    block, size = gguf.GGML_QUANT_SIZES[kind]
    assert original[name].shape[1] % block == 0
    rows = (original[name].shape[0], original[name].shape[1] // block * size)
    generator = np.random.default_rng(0)
    raw = generator.integers(0, 60, rows, dtype=np.uint8)
    expected = gguf.quants.dequantize(raw, kind)
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "sdxl")
    for key, values in original.items():
        if key == name:
            writer.add_tensor(key, raw, raw_dtype=kind)
        else:
            writer.add_tensor(key, values.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    loaded = _load(tmp_path / "x.gguf")

    layer = loaded.up_blocks[2].attentions[0].transformer_blocks[0].ff.net[2]
    assert isinstance(layer, BlockLinear)
    with torch.no_grad():
        weight = (layer(torch.eye(layer.in_features)) - layer.bias).T
    assert np.allclose(weight.numpy(), expected, rtol=1e-4, atol=1e-4 * float(np.abs(expected).max()))


def test_an_adapter_has_the_same_effect_as_on_the_full_base_and_unloads_without_a_trace(tmp_path: Path, denoiser: Any) -> None:
    write_denoiser(MINIATURE, SDXL, "q8_0", tmp_path / "x.gguf")
    loaded = _load(tmp_path / "x.gguf")
    assert (
        module_shapes.of_components("x", {"unet": loaded}, families.get("sdxl")).shapes
        == module_shapes.of_components("x", {"unet": denoiser}, families.get("sdxl")).shapes
    )
    adapter = Adapter({path: layer for path, layer in random_adapter(MINIATURE).layers.items() if path.startswith("unet.")})
    before = prediction(loaded)
    changes = []
    for model in (denoiser, loaded):
        without_adapter = prediction(model)
        apply.inject({"unet": model}, adapter, "a")
        apply.set_weights(apply.adapted_modules({"unet": model}), {"a": 1.0})
        changes.append(prediction(model) - without_adapter)
        apply.unload({"unet": model})
    assert float(changes[0].norm()) > 0.03 * float(before.norm())
    assert relative_error(*changes) < 0.1
    assert torch.equal(prediction(loaded), before)


def test_an_unsupported_type_is_named_in_the_error(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "sdxl")
    _, size = gguf.GGML_QUANT_SIZES[Type.IQ2_XXS]
    writer.add_tensor("a", np.zeros((4, size), np.uint8), raw_dtype=Type.IQ2_XXS)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(BadInput, match="a is of type IQ2_XXS, which is not supported"):
        _load(tmp_path / "x.gguf")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_loaded_denoiser_predicts_in_the_configured_precision(tmp_path: Path, dtype: torch.dtype) -> None:
    write_denoiser(MINIATURE, SDXL, "q8_0", tmp_path / "x.gguf")
    loaded = _load(tmp_path / "x.gguf", dtype)
    assert loaded.dtype == dtype
    layer = next(module for module in loaded.modules() if isinstance(module, BlockLinear))
    assert layer.weight.dtype == torch.uint8
    # As the generator does when values overflow.
    predicted = prediction(loaded.to(torch.float32))
    assert predicted.dtype == torch.float32
    assert predicted.isfinite().all()


def _without(tensors: Tensors, name: str) -> Tensors:
    return {key: values for key, values in tensors.items() if key != name}


def test_a_tensor_that_does_not_fit_is_named_in_the_error(tmp_path: Path, denoiser: Any, original: Tensors) -> None:
    diffusers_name = "up_blocks.2.attentions.0.transformer_blocks.0.attn1.to_q.weight"
    name = SDXL.checkpoint_keys("unet", denoiser)[diffusers_name].name
    for tensors, message in (
        (_without(original, name), f"it lacks {diffusers_name}"),
        ({**original, "more.weight": np.ones((2, 2), np.float32)}, "which has no more.weight"),
        ({**original, name: np.ones((32, 32), np.float32)}, r"is \(32, 32\), and"),
    ):
        write(tmp_path / "x.gguf", tensors, lambda _, values: Type.F32)
        with pytest.raises(BadInput, match=message):
            _load(tmp_path / "x.gguf")


def test_a_file_that_is_not_gguf_or_truncated_is_an_error(tmp_path: Path, original: Tensors) -> None:
    intact = write(tmp_path / "x.gguf", original, _q8_type).read_bytes()
    files = (
        (b"", "not a GGUF file"),
        (b"GGUF" + bytes(40), "not a GGUF file, or truncated"),
        (intact[: len(intact) // 2], "truncated"),
    )
    for data, message in files:
        (tmp_path / "y.gguf").write_bytes(data)
        with pytest.raises(BadInput, match=message):
            _load(tmp_path / "y.gguf")
    with pytest.raises(BadInput, match="no such file"):
        _load(tmp_path / "z.gguf")


@pytest.mark.parametrize("name", ["q4_k", "Q4_K_M", "iq4_xs"])
def test_the_error_for_a_type_that_cannot_be_written_names_alternatives(name: str) -> None:
    with pytest.raises(BadInput, match=r"stable-diffusion\.cpp writes it"):
        types.parse_type(name)
    with pytest.raises(BadInput, match="Did you mean 'q8_0'"):
        types.parse_type("q8")
