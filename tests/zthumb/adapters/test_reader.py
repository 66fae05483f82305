"""Files of every program that writes SDXL LoRAs give the adapter that is in them; what is no LoRA for the base is refused."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from foundation.errors import BadInput
from tests.zthumb.adapters.conftest import layer
from zthumb.adapters import reader
from zthumb.adapters.adapter import Adapter, Layer
from zthumb.adapters.difference import difference
from zthumb.adapters.layouts import save_diffusers, save_kohya
from zthumb.adapters.module_shapes import ModuleShapes

Tensors = dict[str, Tensor]
QUERY = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
CONVOLUTION = "unet.up_blocks.1.resnets.0.conv1"


def _kohya_with_diffusers_names(adapter: Adapter) -> Tensors:
    prefixes = {"unet": "lora_unet_", "text_encoder": "lora_te1_", "text_encoder_2": "lora_te2_"}
    tensors = {}
    for path, each in adapter.layers.items():
        part, module = path.split(".", 1)
        name = prefixes[part] + module.replace(".", "_")
        tensors[f"{name}.lora_down.weight"] = each.down
        tensors[f"{name}.lora_up.weight"] = each.up
        tensors[f"{name}.alpha"] = torch.tensor(each.scale * each.rank)
    return tensors


def _dotted(adapter: Adapter, down: str, up: str, prefix: str = "", drop: str = "") -> Tensors:
    tensors = {}
    for path, each in adapter.layers.items():
        tensors[f"{prefix}{path.removeprefix(drop)}{down}"] = each.down
        tensors[f"{prefix}{path.removeprefix(drop)}{up}"] = each.folded().up.contiguous()
    return tensors


def _unet_only(adapter: Adapter) -> Adapter:
    return Adapter({path: each for path, each in adapter.layers.items() if path.startswith("unet.")})


def _same(one: Adapter, other: Adapter) -> bool:
    return difference(one, other).is_none


def test_both_of_our_own_layouts(base: ModuleShapes, adapter: Adapter, tmp_path: Path) -> None:
    save_kohya(adapter, tmp_path / "k.safetensors", base.layers_per_block, {})
    save_diffusers(adapter, tmp_path / "pytorch_lora_weights.safetensors")
    assert _same(reader.load(tmp_path / "k.safetensors", base), adapter)
    assert _same(reader.load(tmp_path, base), adapter)


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(_kohya_with_diffusers_names, id="OneTrainer and ai-toolkit"),
        pytest.param(lambda each: _dotted(each, ".lora_A.weight", ".lora_B.weight"), id="diffusers without metadata"),
        pytest.param(lambda each: _dotted(each, ".lora.down.weight", ".lora.up.weight"), id="diffusers before PEFT"),
        pytest.param(lambda each: _dotted(each, ".lora_down.weight", ".lora_up.weight"), id="dotted names, kohya's endings"),
    ],
)
def test_layouts_of_other_programs(
    base: ModuleShapes, adapter: Adapter, tmp_path: Path, write: Callable[[Adapter], Tensors]
) -> None:
    save_file(write(adapter), tmp_path / "x.safetensors")
    assert _same(reader.load(tmp_path / "x.safetensors", base), adapter)


def test_attention_processors_of_old_diffusers(base: ModuleShapes, tmp_path: Path) -> None:
    given = layer(base, QUERY)
    stem = QUERY.replace(".to_q", ".processor.to_q_lora")
    save_file({f"{stem}.down.weight": given.down, f"{stem}.up.weight": given.up}, tmp_path / "x.safetensors")
    assert _same(reader.load(tmp_path / "x.safetensors", base), Adapter({QUERY: given}))


def test_names_of_comfyui(base: ModuleShapes, tmp_path: Path) -> None:
    given = layer(base, QUERY)
    # The miniature has one layer per block: its second down block begins at input block 3.
    stem = "diffusion_model.input_blocks.3.1.transformer_blocks.0.attn1.to_q"
    save_file({f"{stem}.lora_A.weight": given.down, f"{stem}.lora_B.weight": given.up}, tmp_path / "x.safetensors")
    assert _same(reader.load(tmp_path / "x.safetensors", base), Adapter({QUERY: given}))


@pytest.mark.parametrize("stabilized", [False, True])
def test_a_folder_of_peft_with_its_configuration(base: ModuleShapes, adapter: Adapter, tmp_path: Path, stabilized: bool) -> None:
    unscaled = Adapter({path: Layer(each.down, each.up) for path, each in _unet_only(adapter).layers.items()})
    tensors = _dotted(unscaled, ".lora_A.weight", ".lora_B.weight", "base_model.model.", "unet.")
    save_file(tensors, tmp_path / "adapter_model.safetensors")
    told = {"r": 3, "lora_alpha": 6, "use_rslora": stabilized, "alpha_pattern": {"attn1.to_q": 12}}
    (tmp_path / "adapter_config.json").write_text(json.dumps(told))

    read = reader.load(tmp_path, base)

    for path, each in read.layers.items():
        divisor = each.rank**0.5 if stabilized else each.rank
        assert each.scale == pytest.approx((12 if path == QUERY else 6) / divisor), path


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn])
def test_fewer_bits_are_read_as_what_they_hold(base: ModuleShapes, tmp_path: Path, dtype: torch.dtype) -> None:
    given = layer(base, QUERY)
    down, up = given.down.to(dtype), given.up.to(dtype)
    stem = "lora_unet_" + QUERY.removeprefix("unet.").replace(".", "_")
    # An alpha of one at a high rank: folded in sixteen bits, small weights would be lost.
    save_file(
        {f"{stem}.lora_down.weight": down, f"{stem}.lora_up.weight": up, f"{stem}.alpha": torch.tensor(1)},
        tmp_path / "x.safetensors",
    )
    read = reader.load(tmp_path / "x.safetensors", base).layers[QUERY]
    assert read.scale == pytest.approx(1 / 3)
    assert torch.allclose(read.change(), up.float() @ down.float() / 3, atol=1e-5)


@pytest.mark.parametrize(
    ("told", "scale"),
    [
        ({"unet.r": 3, "unet.lora_alpha": 6}, 2.0),
        ({"r": 3, "lora_alpha": 6}, 2.0),
        ({"unet.lora_alpha": 6, "unet.alpha_pattern": {QUERY.removeprefix("unet."): 12}}, 4.0),
        ({"unet.lora_alpha": 6, "unet.alpha_pattern": {"^" + QUERY.removeprefix("unet."): 12}}, 4.0),
        ({"unet.lora_alpha": 6, "unet.alpha_pattern": {"attn1.to_q": 12, "other": 1}}, 4.0),
        ({"unet.lora_alpha": 6, "text_encoder.lora_alpha": 99}, 2.0),
    ],
)
def test_scales_told_in_the_header(base: ModuleShapes, tmp_path: Path, told: dict[str, object], scale: float) -> None:
    given = layer(base, QUERY)
    tensors = {f"{QUERY}.lora_A.weight": given.down, f"{QUERY}.lora_B.weight": given.up}
    save_file(tensors, tmp_path / "x.safetensors", {"lora_adapter_metadata": json.dumps(told)})
    assert reader.load(tmp_path / "x.safetensors", base).layers[QUERY].scale == pytest.approx(scale)


@pytest.mark.parametrize(
    "told",
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
def test_nonsense_in_the_header_is_refused_in_one_line(base: ModuleShapes, tmp_path: Path, told: str) -> None:
    given = layer(base, QUERY)
    tensors = {f"{QUERY}.lora_A.weight": given.down, f"{QUERY}.lora_B.weight": given.up}
    save_file(tensors, tmp_path / "x.safetensors", {"lora_adapter_metadata": told})
    with pytest.raises(BadInput) as refusal:
        reader.load(tmp_path / "x.safetensors", base)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("path", [QUERY, CONVOLUTION])
def test_magnitudes_of_linear_modules_and_convolutions_in_both_layouts(base: ModuleShapes, tmp_path: Path, path: str) -> None:
    norms = torch.rand(base.shapes[path][0]) + 1
    given = Adapter({path: replace(layer(base, path), magnitude=norms)})
    save_kohya(given, tmp_path / "k.safetensors", base.layers_per_block, {})
    save_diffusers(given, tmp_path / "d.safetensors")
    for name in ("k", "d"):
        magnitude = reader.load(tmp_path / f"{name}.safetensors", base).layers[path].magnitude
        assert magnitude is not None
        assert torch.equal(magnitude, norms)


def test_a_pattern_that_would_take_for_ever_is_given_up(
    base: ModuleShapes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, path = layer(base, QUERY), QUERY
    tensors = {f"{path}.lora_A.weight": given.down, f"{path}.lora_B.weight": given.up}
    told = json.dumps({"unet.lora_alpha": 2, "unet.alpha_pattern": {".*": 1}})
    save_file(tensors, tmp_path / "x.safetensors", {"lora_adapter_metadata": told})

    class Late:
        def match(self, _: str, timeout: float) -> None:
            assert timeout < 1
            raise TimeoutError

    monkeypatch.setattr("regex.compile", lambda _: Late())

    with pytest.raises(BadInput, match="none that can be looked for"):
        reader.load(tmp_path / "x.safetensors", base)


def test_a_part_that_is_a_dora_only_in_places_is_read(base: ModuleShapes, adapter: Adapter, tmp_path: Path) -> None:
    mixed = {**adapter.layers, QUERY: replace(layer(base, QUERY), magnitude=torch.ones(base.shapes[QUERY][0]))}
    save_kohya(Adapter(mixed), tmp_path / "x.safetensors", base.layers_per_block, {})

    read = reader.load(tmp_path / "x.safetensors", base)

    assert list(read.changes) == [QUERY]
    assert sorted([*read.layers, *read.changes]) == sorted(mixed)


def test_pointwise_convolutions_written_as_matrices(base: ModuleShapes, tmp_path: Path) -> None:
    path = next(name for name, shape in base.shapes.items() if shape[2:] == (1, 1))
    given = layer(base, path)
    tensors = {f"{path}.lora_A.weight": given.down.flatten(1), f"{path}.lora_B.weight": given.up.flatten(1)}
    save_file(tensors, tmp_path / "x.safetensors")
    read = reader.load(tmp_path / "x.safetensors", base)
    assert read.layers[path].down.shape == given.down.shape
    assert _same(read, Adapter({path: given}))


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
        ({".dora_scale": torch.ones(1, 127)}, "neither a norm for each of 128 outputs nor for each input"),
        ({".lora_down.weight": torch.ones(3, 128)}, "the same weight twice"),
        ({".alpha": torch.tensor(float("inf"))}, "NaN or infinity"),
        ({".hada_w1_a": torch.ones(2, 2)}, "LoHa with lora_down.weight, lora_up.weight, which do not belong"),
        ({".lokr_w1": torch.ones(2, 2)}, "LoKr with lora_down.weight, lora_up.weight, which do not belong"),
        ({".lora_mid.weight": torch.ones(2, 2)}, "Tucker"),
        ({".diff": torch.ones(2, 2)}, "full difference"),
        ({".lora_B.bias": torch.ones(2)}, "a bias of 2 numbers for 128 outputs"),
        ({".something": torch.ones(2)}, "no part of an adapter that is known"),
    ],
)
def test_what_cannot_be_applied_is_refused_with_the_reason(
    base: ModuleShapes, tmp_path: Path, change: dict[str, Tensor | None], reason: str
) -> None:
    given = layer(base, QUERY)
    good = {f"{QUERY}.lora_A.weight": given.down, f"{QUERY}.lora_B.weight": given.up}
    save_file(_changed(good, **change), tmp_path / "x.safetensors")
    with pytest.raises(BadInput, match=reason) as refusal:
        reader.load(tmp_path / "x.safetensors", base)
    assert "\n" not in str(refusal.value)


def test_a_module_the_base_has_not_and_one_named_twice_are_refused(base: ModuleShapes, tmp_path: Path) -> None:
    given = layer(base, QUERY)
    elsewhere = QUERY.replace("down_blocks.1", "down_blocks.7")
    save_file({f"{elsewhere}.lora_A.weight": given.down, f"{elsewhere}.lora_B.weight": given.up}, tmp_path / "x.safetensors")
    with pytest.raises(BadInput, match="has no module for"):
        reader.load(tmp_path / "x.safetensors", base)
    adapter = Adapter({QUERY: given})
    both = {**_kohya_with_diffusers_names(adapter), **_dotted(adapter, ".lora_A.weight", ".lora_B.weight")}
    save_file({name: value.clone() for name, value in both.items()}, tmp_path / "y.safetensors")
    with pytest.raises(BadInput, match="twice"):
        reader.load(tmp_path / "y.safetensors", base)


def test_an_empty_file_is_no_adapter(base: ModuleShapes, tmp_path: Path) -> None:
    save_file({"bundle_emb.x.clip_l": torch.ones(1)}, tmp_path / "x.safetensors")
    with pytest.raises(BadInput, match="no LoRA weights"):
        reader.load(tmp_path / "x.safetensors", base)


def test_a_convolution_is_read_with_its_kernel(base: ModuleShapes, adapter: Adapter, tmp_path: Path) -> None:
    save_kohya(adapter, tmp_path / "k.safetensors", base.layers_per_block, {})
    read = reader.load(tmp_path / "k.safetensors", base)
    assert read.layers[CONVOLUTION].change().shape == base.shapes[CONVOLUTION]
