"""LoRA files of every program are read exactly; files that do not fit the base are refused with the reason."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from foundation.errors import BadInput
from tests.zthumb.adapters.conftest import random_layer
from zthumb.adapters import reader
from zthumb.adapters.adapter import Adapter, Layer
from zthumb.adapters.distance import difference
from zthumb.adapters.layouts import save_diffusers, save_kohya
from zthumb.adapters.module_shapes import ModuleShapes

Tensors = dict[str, Tensor]
QUERY = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
CONVOLUTION = "unet.up_blocks.1.resnets.0.conv1"


def _kohya_with_diffusers_names(adapter: Adapter) -> Tensors:
    prefixes = {"unet": "lora_unet_", "text_encoder": "lora_te1_", "text_encoder_2": "lora_te2_"}
    tensors = {}
    for path, layer in adapter.layers.items():
        component, module = path.split(".", 1)
        name = prefixes[component] + module.replace(".", "_")
        tensors[f"{name}.lora_down.weight"] = layer.down
        tensors[f"{name}.lora_up.weight"] = layer.up
        tensors[f"{name}.alpha"] = torch.tensor(layer.scale * layer.rank)
    return tensors


def _dotted(adapter: Adapter, down: str, up: str, prefix: str = "", drop: str = "") -> Tensors:
    tensors = {}
    for path, layer in adapter.layers.items():
        tensors[f"{prefix}{path.removeprefix(drop)}{down}"] = layer.down
        tensors[f"{prefix}{path.removeprefix(drop)}{up}"] = layer.fold_scale().up.contiguous()
    return tensors


def _unet_only(adapter: Adapter) -> Adapter:
    return Adapter({path: layer for path, layer in adapter.layers.items() if path.startswith("unet.")})


def _is_same(first: Adapter, second: Adapter) -> bool:
    return difference(first, second).is_none


def test_both_layouts_written_here_are_read(base: ModuleShapes, adapter: Adapter, tmp_path: Path) -> None:
    save_kohya(adapter, tmp_path / "k.safetensors", base.family, base.denoiser_config, {})
    save_diffusers(adapter, tmp_path / "pytorch_lora_weights.safetensors")
    assert _is_same(reader.load(tmp_path / "k.safetensors", base), adapter)
    assert _is_same(reader.load(tmp_path, base), adapter)


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(_kohya_with_diffusers_names, id="OneTrainer and ai-toolkit"),
        pytest.param(lambda adapter: _dotted(adapter, ".lora_A.weight", ".lora_B.weight"), id="diffusers without metadata"),
        pytest.param(lambda adapter: _dotted(adapter, ".lora.down.weight", ".lora.up.weight"), id="diffusers before PEFT"),
        pytest.param(
            lambda adapter: _dotted(adapter, ".lora_down.weight", ".lora_up.weight"), id="dotted names, kohya's suffixes"
        ),
    ],
)
def test_layouts_of_other_programs_are_read(
    base: ModuleShapes, adapter: Adapter, tmp_path: Path, write: Callable[[Adapter], Tensors]
) -> None:
    save_file(write(adapter), tmp_path / "x.safetensors")
    assert _is_same(reader.load(tmp_path / "x.safetensors", base), adapter)


def test_attention_processors_of_old_diffusers_are_read(base: ModuleShapes, tmp_path: Path) -> None:
    layer = random_layer(base, QUERY)
    stem = QUERY.replace(".to_q", ".processor.to_q_lora")
    save_file({f"{stem}.down.weight": layer.down, f"{stem}.up.weight": layer.up}, tmp_path / "x.safetensors")
    assert _is_same(reader.load(tmp_path / "x.safetensors", base), Adapter({QUERY: layer}))


def test_names_of_comfyui_are_read(base: ModuleShapes, tmp_path: Path) -> None:
    layer = random_layer(base, QUERY)
    # The miniature has one layer per block: its second down block begins at input block 3.
    stem = "diffusion_model.input_blocks.3.1.transformer_blocks.0.attn1.to_q"
    save_file({f"{stem}.lora_A.weight": layer.down, f"{stem}.lora_B.weight": layer.up}, tmp_path / "x.safetensors")
    assert _is_same(reader.load(tmp_path / "x.safetensors", base), Adapter({QUERY: layer}))


@pytest.mark.parametrize("use_rslora", [False, True])
def test_a_peft_folder_is_read_with_its_configuration(
    base: ModuleShapes, adapter: Adapter, tmp_path: Path, use_rslora: bool
) -> None:
    unscaled = Adapter({path: Layer(layer.down, layer.up) for path, layer in _unet_only(adapter).layers.items()})
    tensors = _dotted(unscaled, ".lora_A.weight", ".lora_B.weight", "base_model.model.", "unet.")
    save_file(tensors, tmp_path / "adapter_model.safetensors")
    config = {"r": 3, "lora_alpha": 6, "use_rslora": use_rslora, "alpha_pattern": {"attn1.to_q": 12}}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))

    read = reader.load(tmp_path, base)

    for path, layer in read.layers.items():
        divisor = layer.rank**0.5 if use_rslora else layer.rank
        assert layer.scale == pytest.approx((12 if path == QUERY else 6) / divisor), path


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn])
def test_low_precision_is_read_without_further_rounding(base: ModuleShapes, tmp_path: Path, dtype: torch.dtype) -> None:
    layer = random_layer(base, QUERY)
    down, up = layer.down.to(dtype), layer.up.to(dtype)
    stem = "lora_unet_" + QUERY.removeprefix("unet.").replace(".", "_")
    # With an alpha of 1 and a high rank, folding the scale in at 16 bits would lose small weights.
    save_file(
        {f"{stem}.lora_down.weight": down, f"{stem}.lora_up.weight": up, f"{stem}.alpha": torch.tensor(1)},
        tmp_path / "x.safetensors",
    )
    read = reader.load(tmp_path / "x.safetensors", base).layers[QUERY]
    assert read.scale == pytest.approx(1 / 3)
    assert torch.allclose(read.change(), up.float() @ down.float() / 3, atol=1e-5)


@pytest.mark.parametrize(
    ("config", "scale"),
    [
        ({"unet.r": 3, "unet.lora_alpha": 6}, 2.0),
        ({"r": 3, "lora_alpha": 6}, 2.0),
        ({"unet.lora_alpha": 6, "unet.alpha_pattern": {QUERY.removeprefix("unet."): 12}}, 4.0),
        ({"unet.lora_alpha": 6, "unet.alpha_pattern": {"^" + QUERY.removeprefix("unet."): 12}}, 4.0),
        ({"unet.lora_alpha": 6, "unet.alpha_pattern": {"attn1.to_q": 12, "other": 1}}, 4.0),
        ({"unet.lora_alpha": 6, "text_encoder.lora_alpha": 99}, 2.0),
    ],
)
def test_scales_in_the_header_are_read(base: ModuleShapes, tmp_path: Path, config: dict[str, object], scale: float) -> None:
    layer = random_layer(base, QUERY)
    tensors = {f"{QUERY}.lora_A.weight": layer.down, f"{QUERY}.lora_B.weight": layer.up}
    save_file(tensors, tmp_path / "x.safetensors", {"lora_adapter_metadata": json.dumps(config)})
    assert reader.load(tmp_path / "x.safetensors", base).layers[QUERY].scale == pytest.approx(scale)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "7",
        "{",
        '{"unet.lora_alpha": "x"}',
        '{"unet.lora_alpha": Infinity}',
        '{"unet.alpha_pattern": [1]}',
        '{"unet.alpha_pattern": {"(a+": 1}}',
        '{"unet.peft_type": "VERA"}',
    ],
)
def test_invalid_metadata_in_the_header_is_refused_in_one_line(base: ModuleShapes, tmp_path: Path, text: str) -> None:
    layer = random_layer(base, QUERY)
    tensors = {f"{QUERY}.lora_A.weight": layer.down, f"{QUERY}.lora_B.weight": layer.up}
    save_file(tensors, tmp_path / "x.safetensors", {"lora_adapter_metadata": text})
    with pytest.raises(BadInput) as refusal:
        reader.load(tmp_path / "x.safetensors", base)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("path", [QUERY, CONVOLUTION])
def test_magnitudes_of_linear_modules_and_convolutions_are_read_from_both_layouts(
    base: ModuleShapes, tmp_path: Path, path: str
) -> None:
    norms = torch.rand(base.shapes[path][0]) + 1
    dora = Adapter({path: replace(random_layer(base, path), magnitude=norms)})
    save_kohya(dora, tmp_path / "k.safetensors", base.family, base.denoiser_config, {})
    save_diffusers(dora, tmp_path / "d.safetensors")
    for name in ("k", "d"):
        magnitude = reader.load(tmp_path / f"{name}.safetensors", base).layers[path].magnitude
        assert magnitude is not None
        assert torch.equal(magnitude, norms)


def test_a_pattern_that_takes_too_long_is_refused(base: ModuleShapes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = random_layer(base, QUERY)
    tensors = {f"{QUERY}.lora_A.weight": layer.down, f"{QUERY}.lora_B.weight": layer.up}
    config = json.dumps({"unet.lora_alpha": 2, "unet.alpha_pattern": {".*": 1}})
    save_file(tensors, tmp_path / "x.safetensors", {"lora_adapter_metadata": config})

    class SlowExpression:
        def match(self, _: str, timeout: float) -> None:
            assert timeout < 1
            raise TimeoutError

    monkeypatch.setattr("regex.compile", lambda _: SlowExpression())

    with pytest.raises(BadInput, match="takes too long to match"):
        reader.load(tmp_path / "x.safetensors", base)


def test_a_component_with_dora_in_only_some_modules_is_read(base: ModuleShapes, adapter: Adapter, tmp_path: Path) -> None:
    mixed = {**adapter.layers, QUERY: replace(random_layer(base, QUERY), magnitude=torch.ones(base.shapes[QUERY][0]))}
    save_kohya(Adapter(mixed), tmp_path / "x.safetensors", base.family, base.denoiser_config, {})

    read = reader.load(tmp_path / "x.safetensors", base)

    assert list(read.changes) == [QUERY]
    assert sorted([*read.layers, *read.changes]) == sorted(mixed)


def test_pointwise_convolutions_written_as_matrices_are_read(base: ModuleShapes, tmp_path: Path) -> None:
    path = next(name for name, shape in base.shapes.items() if shape[2:] == (1, 1))
    layer = random_layer(base, path)
    tensors = {f"{path}.lora_A.weight": layer.down.flatten(1), f"{path}.lora_B.weight": layer.up.flatten(1)}
    save_file(tensors, tmp_path / "x.safetensors")
    read = reader.load(tmp_path / "x.safetensors", base)
    assert read.layers[path].down.shape == layer.down.shape
    assert _is_same(read, Adapter({path: layer}))


def _changed(tensors: Tensors, **changes: Tensor | None) -> Tensors:
    changed = {**tensors, **{f"{QUERY}{key}": value for key, value in changes.items() if value is not None}}
    return {
        name: value for name, value in changed.items() if not any(name == QUERY + k and v is None for k, v in changes.items())
    }


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({".lora_B.weight": None}, "no up weight"),
        ({".lora_A.weight": None}, "no down weight"),
        ({".lora_A.weight": torch.full((3, 128), float("nan"))}, "NaN or infinity"),
        ({".lora_A.weight": torch.full((3, 128), float("inf"))}, "NaN or infinity"),
        ({".lora_A.weight": torch.ones((3, 128), dtype=torch.int8)}, "not floating-point"),
        ({".lora_A.weight": torch.ones(3, 127)}, "another base"),
        ({".lora_A.weight": torch.ones(4, 128)}, "another base"),
        ({".lora_A.weight": torch.ones(3)}, "another base"),
        ({".alpha": torch.ones(3)}, "not one number"),
        ({".dora_scale": torch.ones(1, 127)}, r"neither one norm per output \(128\) nor one per input"),
        ({".lora_down.weight": torch.ones(3, 128)}, "the same weight twice"),
        ({".alpha": torch.tensor(float("inf"))}, "NaN or infinity"),
        ({".hada_w1_a": torch.ones(2, 2)}, "LoHa with lora_down.weight, lora_up.weight, which do not belong"),
        ({".lokr_w1": torch.ones(2, 2)}, "LoKr with lora_down.weight, lora_up.weight, which do not belong"),
        ({".lora_mid.weight": torch.ones(2, 2)}, "Tucker"),
        ({".diff": torch.ones(2, 2)}, "full difference"),
        ({".lora_B.bias": torch.ones(2)}, "a bias of 2 values for 128 outputs"),
        ({".something": torch.ones(2)}, "not a tensor of any supported kind of adapter"),
    ],
)
def test_tensors_that_cannot_be_applied_are_refused_with_the_reason(
    base: ModuleShapes, tmp_path: Path, change: dict[str, Tensor | None], reason: str
) -> None:
    layer = random_layer(base, QUERY)
    valid = {f"{QUERY}.lora_A.weight": layer.down, f"{QUERY}.lora_B.weight": layer.up}
    save_file(_changed(valid, **change), tmp_path / "x.safetensors")
    with pytest.raises(BadInput, match=reason) as refusal:
        reader.load(tmp_path / "x.safetensors", base)
    assert "\n" not in str(refusal.value)


def test_a_module_missing_in_the_base_and_a_module_given_twice_are_refused(base: ModuleShapes, tmp_path: Path) -> None:
    layer = random_layer(base, QUERY)
    missing = QUERY.replace("down_blocks.1", "down_blocks.7")
    save_file({f"{missing}.lora_A.weight": layer.down, f"{missing}.lora_B.weight": layer.up}, tmp_path / "x.safetensors")
    with pytest.raises(BadInput, match="has no module for"):
        reader.load(tmp_path / "x.safetensors", base)
    adapter = Adapter({QUERY: layer})
    twice = {**_kohya_with_diffusers_names(adapter), **_dotted(adapter, ".lora_A.weight", ".lora_B.weight")}
    save_file({name: value.clone() for name, value in twice.items()}, tmp_path / "y.safetensors")
    with pytest.raises(BadInput, match="twice"):
        reader.load(tmp_path / "y.safetensors", base)


def test_a_file_without_lora_weights_is_refused(base: ModuleShapes, tmp_path: Path) -> None:
    save_file({"bundle_emb.x.clip_l": torch.ones(1)}, tmp_path / "x.safetensors")
    with pytest.raises(BadInput, match="no LoRA weights"):
        reader.load(tmp_path / "x.safetensors", base)


def test_a_convolution_is_read_with_its_kernel(base: ModuleShapes, adapter: Adapter, tmp_path: Path) -> None:
    save_kohya(adapter, tmp_path / "k.safetensors", base.family, base.denoiser_config, {})
    read = reader.load(tmp_path / "k.safetensors", base)
    assert read.layers[CONVOLUTION].change().shape == base.shapes[CONVOLUTION]
