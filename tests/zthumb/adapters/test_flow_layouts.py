"""LoRA files of transformers in every layout that their users have: read as the same change, here and by diffusers.

Each layout is written from one random adapter. Where diffusers reads it, its own converter has to come to the same change.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import diffusers
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.adapters import random_adapter
from tests.zthumb.families.conftest import RANDOM
from zthumb import families
from zthumb.adapters import module_shapes, reader
from zthumb.adapters.adapter import Adapter
from zthumb.adapters.layouts import save_kohya
from zthumb.checkpoints.checkpoint_key import WHOLE
from zthumb.families.base import ModelFamily

pytestmark = pytest.mark.slow

Tensors = dict[str, Tensor]
ALPHA = 2.0
"""In files that have one, of rank 4: the scale is a half."""


def _lora(name: str, down: Tensor, up: Tensor) -> Iterator[tuple[str, Tensor]]:
    yield f"{name}.lora_A.weight", down
    yield f"{name}.lora_B.weight", up


def _with_alpha(name: str, down: Tensor, up: Tensor) -> Iterator[tuple[str, Tensor]]:
    yield f"{name}.lora_down.weight", down
    yield f"{name}.lora_up.weight", up * len(down) / ALPHA
    yield f"{name}.alpha", torch.tensor(ALPHA)


Write = Callable[[str, Tensor, Tensor], Iterator[tuple[str, Tensor]]]


def _named(adapter: Adapter, prefix: str, write: Write, flat: bool = False) -> Tensors:
    """Return the adapter under diffusers' names behind ``prefix``."""
    tensors = Tensors()
    for path, layer in adapter.layers.items():
        module = path.removeprefix("transformer.")
        name = prefix + (module.replace(".", "_") if flat else module)
        tensors |= dict(write(name, layer.down, layer.up * layer.scale))
    return tensors


def _published(adapter: Adapter, family: ModelFamily, prefix: str, write: Write) -> Tensors:
    """Return the adapter under the published names behind ``prefix``; of fused projections the last part is left out."""
    groups: dict[str, list[tuple[int, str]]] = {}
    for path in adapter.layers:
        key = family.original_key(path.removeprefix("transformer."), {})
        groups.setdefault(key.name, []).append((key.rows.start, path))
    tensors = Tensors()
    for name, parts in groups.items():
        layers = [adapter.layers[path] for _, path in sorted(parts)]
        down = torch.cat([layer.down for layer in layers])
        tensors |= dict(write(prefix + name, down, torch.block_diag(*[layer.up * layer.scale for layer in layers])))
    return tensors


def _xlabs(adapter: Adapter) -> Tensors:
    """Return the adapter's attention as XLabs' trainer writes it: one rank for queries, keys and values."""
    tensors = Tensors()
    for blocks, modules in {
        "double_blocks.{}.processor.qkv_lora1": "transformer.transformer_blocks.{}.attn.to_q",
        "double_blocks.{}.processor.proj_lora1": "transformer.transformer_blocks.{}.attn.to_out.0",
        "double_blocks.{}.processor.qkv_lora2": "transformer.transformer_blocks.{}.attn.add_q_proj",
        "double_blocks.{}.processor.proj_lora2": "transformer.transformer_blocks.{}.attn.to_add_out",
        "single_blocks.{}.processor.qkv_lora": "transformer.single_transformer_blocks.{}.attn.to_q",
        "single_blocks.{}.processor.proj_lora": "transformer.single_transformer_blocks.{}.proj_out",
    }.items():
        for number in range(9):
            layer = adapter.layers.get(modules.format(number))
            if layer is not None:
                up = torch.cat([layer.up, 2 * layer.up, -layer.up]) if "qkv" in blocks else layer.up
                tensors[f"{blocks.format(number)}.down.weight"] = layer.down
                tensors[f"{blocks.format(number)}.up.weight"] = up
    return tensors


LAYOUTS: Mapping[str, Callable[[Adapter, ModelFamily], Tensors]] = {
    "diffusers": lambda adapter, _: _named(adapter, "transformer.", _lora),
    "ai-toolkit": lambda adapter, _: _named(adapter, "diffusion_model.", _lora),
    "Lightning": lambda adapter, _: _named(adapter, "", _with_alpha),
    "PEFT": lambda adapter, _: _named(adapter, "base_model.model.", _lora),
    "musubi, split": lambda adapter, _: _named(adapter, "lora_unet_", _with_alpha, flat=True),
    "LyCORIS": lambda adapter, _: _named(adapter, "lycoris_", _with_alpha, flat=True),
    "ComfyUI, published names": lambda adapter, family: _published(adapter, family, "diffusion_model.", _with_alpha),
    "BFL, published names": lambda adapter, family: _published(adapter, family, "", _lora),
}

READ_BY_DIFFUSERS = {
    ("flux", "diffusers"),
    ("flux2", "PEFT"),
    ("flux2", "ai-toolkit"),
    ("flux2", "diffusers"),
    ("flux2_dev", "PEFT"),
    ("flux2_dev", "ai-toolkit"),
    ("flux2_dev", "diffusers"),
    ("qwen_image", "ComfyUI, published names"),
    ("qwen_image", "Lightning"),
    ("qwen_image", "ai-toolkit"),
    ("qwen_image", "diffusers"),
    ("qwen_image", "musubi, split"),
    ("z_image", "Lightning"),
    ("z_image", "ai-toolkit"),
    ("z_image", "diffusers"),
    ("z_image", "musubi, split"),
}
"""Family and layout of the files that its pipeline of this version converts to the names of its modules."""


@pytest.fixture(scope="module", params=sorted(RANDOM))
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelFamily, Path, Adapter]:
    models = tmp_path_factory.mktemp("models")
    (models / "mini-sdxl").symlink_to(Path("models/mini-sdxl").resolve())
    folder = models / "base"
    RANDOM[request.param](models / "mini-sdxl", folder)
    return families.get(request.param), folder, random_adapter(folder, targets="attention+feed-forward", alpha=3.0)


def _changes(layers: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return by module the product of the two factors of each layer in PEFT's names."""
    downs = {name.removesuffix(".lora_A.weight"): value for name, value in layers.items() if name.endswith("lora_A.weight")}
    return {name: layers[f"{name}.lora_B.weight"] @ down for name, down in downs.items()}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_file_of_every_layout_is_read_as_the_change_it_was_written_from(
    made: tuple[ModelFamily, Path, Adapter], tmp_path: Path, layout: str
) -> None:
    family, folder, adapter = made
    tensors, file = LAYOUTS[layout](adapter, family), tmp_path / "x.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file)

    read = reader.load(file, module_shapes.of_folder("base", folder, family))

    assert read.layers.keys() == adapter.layers.keys()
    for path, layer in adapter.layers.items():
        torch.testing.assert_close(read.layers[path].change(), layer.change(), rtol=1e-4, atol=1e-5)
    if (family.name, layout) in READ_BY_DIFFUSERS:
        converted = getattr(diffusers, family.pipeline_class).lora_state_dict(dict(tensors))
        converted = converted[0] if isinstance(converted, tuple) else converted
        for path, change in _changes(converted).items():
            torch.testing.assert_close(change, adapter.layers[path].change(), rtol=1e-4, atol=1e-5)
        assert len(_changes(converted)) == len(adapter.layers)


def test_kohya_s_files_have_published_names_and_are_read_alike(made: tuple[ModelFamily, Path, Adapter], tmp_path: Path) -> None:
    family, folder, adapter = made
    configuration, file = family.configuration(folder, "transformer"), tmp_path / "x.safetensors"
    save_kohya(adapter, file, family, configuration, {})

    read = reader.load(file, module_shapes.of_folder("base", folder, family))

    names = {name.split(".")[0] for name in load_file(file)}
    expected = {family.original_key(path.removeprefix("transformer."), configuration) for path in adapter.layers}
    assert names == {f"lora_unet_{key.name.replace('.', '_')}" for key in expected}
    assert len(names) < len(adapter.layers) or all(key.rows == WHOLE for key in expected)
    for path, layer in adapter.layers.items():
        torch.testing.assert_close(read.layers[path].change(), layer.change(), rtol=1e-4, atol=1e-5)


def test_xlabs_attention_processors_are_read_as_diffusers_reads_them(tmp_path: Path) -> None:
    family, folder = families.get("flux"), tmp_path / "models" / "base"
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mini-sdxl").symlink_to(Path("models/mini-sdxl").resolve())
    RANDOM["flux"](tmp_path / "models" / "mini-sdxl", folder)
    tensors, file = _xlabs(random_adapter(folder, targets="attention+feed-forward")), tmp_path / "x.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file)

    read = reader.load(file, module_shapes.of_folder("base", folder, family))

    expected = _changes(diffusers.FluxPipeline.lora_state_dict(dict(tensors)))
    assert read.layers.keys() == expected.keys()
    for path, change in expected.items():
        torch.testing.assert_close(read.layers[path].change(), change, rtol=1e-4, atol=1e-5)
