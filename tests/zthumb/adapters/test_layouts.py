"""diffusers reads both layouts of one adapter without unexpected keys, and generates the same image with both."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.utils import logging
from numpy.typing import NDArray
from safetensors import safe_open

from tests.adapters import MINI_SDXL, random_adapter
from tests.zthumb.adapters.conftest import random_layer
from zthumb import families
from zthumb.adapters import reader
from zthumb.adapters.adapter import Adapter, Layer
from zthumb.adapters.layouts import save_diffusers, save_kohya
from zthumb.adapters.module_shapes import ModuleShapes
from zthumb.checkpoints import header

pytestmark = pytest.mark.slow

SDXL = families.get("sdxl")
RANK, ALPHA = 4, 6.0
ROUNDING = 1e-4
"""A small fraction of 1/255, the smallest difference between two images."""


@pytest.fixture
def adapter(miniature: Path) -> Adapter:
    return random_adapter(miniature, RANK, ALPHA, "attention+feed-forward", strength=0.05)


def _generated(miniature: Path, file: Path | None) -> NDArray[np.float32]:
    pipeline = SDXL.load(miniature, torch.float32, torch.device("cpu"))
    if file is not None:
        pipeline.load_lora_weights(file.parent, weight_name=file.name, use_safetensors=True)
    output = pipeline("a red star", num_inference_steps=3, generator=torch.Generator().manual_seed(1), output_type="np")
    image: NDArray[np.float32] = output.images[0]
    return image


@pytest.mark.parametrize("targets", ["attention", "attention+feed-forward", "attention+feed-forward+convolution"])
def test_both_layouts_change_the_image_and_agree(
    miniature: Path, tmp_path: Path, targets: str, caplog: pytest.LogCaptureFixture
) -> None:
    logging.enable_propagation()
    adapter = random_adapter(miniature, RANK, ALPHA, targets, strength=0.03)
    kohya, diffusers = tmp_path / "kohya.safetensors", tmp_path / "pytorch_lora_weights.safetensors"
    save_kohya(adapter, kohya, *MINI_SDXL, metadata={"ss_v2": "False"})
    save_diffusers(adapter, diffusers)
    original, first, second = _generated(miniature, None), _generated(miniature, kohya), _generated(miniature, diffusers)
    assert np.abs(first - original).max() > 0.01
    assert np.abs(first - second).max() < ROUNDING
    assert "unexpected keys" not in caplog.text


def test_diffusers_reads_magnitudes_in_its_own_layout_and_the_kohya_file_has_them_too(miniature: Path, tmp_path: Path) -> None:
    with_magnitudes = random_adapter(miniature, RANK, ALPHA, "attention", strength=0.03, use_dora=True)
    plain = Adapter({path: replace(layer, magnitude=None) for path, layer in with_magnitudes.layers.items()})
    files = [tmp_path / name / "pytorch_lora_weights.safetensors" for name in ("magnitudes", "plain")]
    for adapter, file in zip((with_magnitudes, plain), files, strict=True):
        file.parent.mkdir()
        save_diffusers(adapter, file)

    assert np.abs(_generated(miniature, files[0]) - _generated(miniature, files[1])).max() > 0.005

    save_kohya(with_magnitudes, tmp_path / "x.safetensors", *MINI_SDXL, metadata={})
    shapes = header.read(tmp_path / "x.safetensors").shapes
    magnitudes = {name: shape for name, shape in shapes.items() if name.endswith(".dora_scale")}
    assert len(magnitudes) == len(with_magnitudes.layers)
    assert all(shape == (shapes[name.replace("dora_scale", "lora_up.weight")][0], 1) for name, shape in magnitudes.items())


def test_every_module_of_the_kohya_file_has_down_up_and_alpha(adapter: Adapter, tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    save_kohya(adapter, file, *MINI_SDXL, metadata={"ss_v2": "False"})
    with safe_open(file, "pt") as opened:
        names, metadata = set(opened.keys()), opened.metadata()
        assert all(opened.get_tensor(name).shape == () for name in names if name.endswith(".alpha"))
    stems = {name.split(".")[0] for name in names}
    assert names == {f"{stem}.{suffix}" for stem in stems for suffix in ("lora_down.weight", "lora_up.weight", "alpha")}
    assert len(stems) == len(adapter.layers)
    assert metadata["ss_v2"] == "False"
    assert len(metadata["sshs_model_hash"]) == 64


def test_the_diffusers_file_has_rank_and_alpha_in_its_header(adapter: Adapter, tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    save_diffusers(adapter, file)
    config = json.loads(header.read(file).metadata["lora_adapter_metadata"])
    assert (config["unet.r"], config["unet.lora_alpha"]) == (RANK, RANK)
    assert config["unet.target_modules"] == sorted(config["unet.target_modules"])


def test_writing_twice_gives_the_same_bytes(adapter: Adapter, tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_kohya(adapter, tmp_path / f"{name}.safetensors", *MINI_SDXL, metadata={"ss_v2": "False", "a": "b"})
        save_diffusers(adapter, tmp_path / f"d{name}.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert (tmp_path / "da.safetensors").read_bytes() == (tmp_path / "db.safetensors").read_bytes()


@pytest.mark.parametrize("component", ["text_encoder", "text_encoder_2"])
def test_diffusers_reads_text_encoder_layers_in_both_layouts(
    miniature: Path, base: ModuleShapes, tmp_path: Path, component: str
) -> None:
    modules = [
        name for name in base.shapes if name.startswith(f"{component}.") and "proj" in name and "text_projection" not in name
    ]
    layers = {name: random_layer(base, name, rank=2, seed=number) for number, name in enumerate(modules)}
    adapter = Adapter({name: Layer(layer.down, layer.up, 0.05) for name, layer in layers.items()})
    kohya, diffusers = tmp_path / "kohya.safetensors", tmp_path / "pytorch_lora_weights.safetensors"
    save_kohya(adapter, kohya, base.family, base.denoiser_config, metadata={})
    save_diffusers(adapter, diffusers)
    original, first, second = _generated(miniature, None), _generated(miniature, kohya), _generated(miniature, diffusers)
    assert np.abs(first - original).max() > 0.01
    assert np.abs(first - second).max() < ROUNDING


def test_diffusers_reads_mixed_ranks_in_both_layouts(miniature: Path, base: ModuleShapes, tmp_path: Path) -> None:
    modules = [name for name in base.shapes if name.endswith(("attn2.to_k", "attn2.to_v"))]
    adapter = Adapter({name: random_layer(base, name, 2 + number % 3, 0.02, number) for number, name in enumerate(modules)})
    kohya, diffusers = tmp_path / "kohya.safetensors", tmp_path / "pytorch_lora_weights.safetensors"
    save_kohya(adapter, kohya, base.family, base.denoiser_config, metadata={})
    save_diffusers(adapter, diffusers)
    first, second = _generated(miniature, kohya), _generated(miniature, diffusers)
    assert np.abs(first - _generated(miniature, None)).max() > 0.01
    assert np.abs(first - second).max() < ROUNDING
    assert {layer.scale for layer in reader.load(diffusers, base).layers.values()} == {1.0}
