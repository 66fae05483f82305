"""The names FLUX.1's tensors were published under, checked against diffusers' own converters, which know them from elsewhere."""

from pathlib import Path

import pytest
import torch
from diffusers.loaders.lora_conversion_utils import _convert_kohya_flux_lora_to_diffusers
from diffusers.loaders.single_file_utils import convert_flux_transformer_checkpoint_to_diffusers
from safetensors.torch import load_file

from zthumb import families
from zthumb.adapters.adapter import Adapter, Layer
from zthumb.adapters.layouts import save_kohya
from zthumb.checkpoints.checkpoint_key import join, names_by_key
from zthumb.checkpoints.flux_keys import of_module, of_tensor

FLUX = families.get("flux")
# Of FLUX.1's width, since diffusers converts no other.
CONFIGURATION = {**FLUX.configuration(FLUX.references[0], "transformer"), "num_layers": 1, "num_single_layers": 1}


def _tensors() -> dict[str, torch.Tensor]:
    """Return by diffusers' name a tensor of as many rows as FLUX.1's own, all different, and of one column."""
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in FLUX.build_component("transformer", CONFIGURATION).state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn((shape[0], *[1] * (len(shape) - 1)), generator=generator) for name, shape in shapes.items()}


def test_a_transformer_goes_to_its_published_names_and_back() -> None:
    tensors = _tensors()
    keys = {name: of_tensor(name) for name in tensors}
    published = {name: join([(keys[part], tensors[part]) for part in parts]) for name, parts in names_by_key(keys).items()}

    here = {name: key.extract(published[key.name], tuple(tensors[name].shape)) for name, key in keys.items()}
    there = convert_flux_transformer_checkpoint_to_diffusers(dict(published))

    assert there.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(here[name], tensor), name
        assert torch.equal(there[name], tensor), name


def test_an_adapter_in_kohya_s_layout_is_the_same_to_diffusers(tmp_path: Path) -> None:
    # Given layers of several ranks for every module that an adapter of FLUX.1 has
    with torch.device("meta"):
        transformer = FLUX.build_component("transformer", CONFIGURATION)
    generator = torch.Generator().manual_seed(0)
    layers = {}
    for index, module in enumerate(FLUX.lora_modules("transformer", transformer, "attention+feed-forward")):
        outputs = transformer.get_submodule(module).out_features
        rank = 2 + index % 3
        up, down = torch.randn(outputs, rank, generator=generator), torch.randn(rank, 3, generator=generator)
        layers[f"transformer.{module}"] = Layer(down, up, scale=0.5)
    file = tmp_path / "x.safetensors"
    save_kohya(Adapter(layers), file, FLUX, CONFIGURATION, {})

    # When diffusers reads them
    converted = _convert_kohya_flux_lora_to_diffusers(load_file(file))

    # Then each module's change is the same
    for path, layer in layers.items():
        change = converted[f"{path}.lora_B.weight"] @ converted[f"{path}.lora_A.weight"]
        torch.testing.assert_close(change, layer.change(), rtol=1e-4, atol=1e-4)


def test_what_the_transformer_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="attn\\.to_x: not a module"):
        of_module("transformer_blocks.0.attn.to_x")
