"""The published names of Z-Image's and FLUX.2's transformers and Wan's autoencoder, checked against diffusers."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from diffusers.loaders.single_file_utils import (
    convert_flux2_transformer_checkpoint_to_diffusers,
    convert_wan_vae_to_diffusers,
    convert_z_image_transformer_checkpoint_to_diffusers,
)

from zthumb import families
from zthumb.checkpoints import flux2_keys, wan_vae_keys, z_image_keys
from zthumb.checkpoints.checkpoint_key import join, names_by_key

Z_IMAGE, FLUX2, QWEN_IMAGE = (families.get(name) for name in ("z_image", "flux2", "qwen_image"))
SMALL = {"n_layers": 2, "n_refiner_layers": 1, "dim": 96, "n_heads": 1, "n_kv_heads": 1, "axes_dims": [32, 32, 32]}


def _z_image() -> Any:
    return Z_IMAGE.build_component("transformer", {**Z_IMAGE.configuration(Z_IMAGE.references[0], "transformer"), **SMALL})


def _flux2() -> Any:
    small = {"num_layers": 1, "num_single_layers": 1, "guidance_embeds": True}
    return FLUX2.build_component("transformer", {**FLUX2.configuration(FLUX2.references[0], "transformer"), **small})


def _wan() -> Any:
    return QWEN_IMAGE.build_component("vae", QWEN_IMAGE.configuration(QWEN_IMAGE.references[0], "vae"))


@pytest.mark.parametrize(
    ("build", "key_of", "convert"),
    [
        (_z_image, z_image_keys.of_tensor, convert_z_image_transformer_checkpoint_to_diffusers),
        (_flux2, flux2_keys.of_tensor, convert_flux2_transformer_checkpoint_to_diffusers),
        (_wan, lambda name: wan_vae_keys.of_autoencoder(name, 3), convert_wan_vae_to_diffusers),
    ],
    ids=["z_image", "flux2", "wan"],
)
def test_every_tensor_goes_to_its_published_name_and_back(
    build: Callable[[], Any],
    key_of: Callable[[str], Any],
    convert: Callable[[dict[str, torch.Tensor]], Mapping[str, torch.Tensor]],
) -> None:
    # Given a tensor for each of a model's, with as many rows, all different, and of one column
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in build().state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    tensors = {name: torch.randn((shape[0], *[1] * (len(shape) - 1)), generator=generator) for name, shape in shapes.items()}
    keys = {name: key_of(name) for name in tensors}
    published = {name: join([(keys[part], tensors[part]) for part in parts]) for name, parts in names_by_key(keys).items()}

    here = {name: key.extract(published[key.name], tuple(tensors[name].shape)) for name, key in keys.items()}
    there = convert(dict(published))

    assert there.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(here[name], tensor), name
        assert torch.equal(there[name], tensor), name


@pytest.mark.parametrize("module", ["layers.0.attention.to_x", "blocks.0.attention.to_q", "nothing"])
def test_a_module_that_z_image_does_not_have_has_no_place(module: str) -> None:
    with pytest.raises(ValueError, match="not a module of Z-Image"):
        z_image_keys.of_module(module)
