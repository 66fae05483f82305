"""The names tensors were published under, checked against diffusers' own converters, which know them from elsewhere."""

from typing import Any

import pytest
import torch
from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint, convert_open_clip_checkpoint

from tests.zthumb.published import SDXL, published
from zthumb.checkpoints.checkpoint_key import CheckpointKey, Rows
from zthumb.checkpoints.clip_keys import inside_text_model, of_open_clip

_CLIP = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "projection_dim": 32,
    "vocab_size": 50,
}
_AUTOENCODER = {
    "block_out_channels": [8, 16, 16],
    "down_block_types": ["DownEncoderBlock2D"] * 3,
    "up_block_types": ["UpDecoderBlock2D"] * 3,
    "layers_per_block": 2,
    "norm_num_groups": 4,
    "latent_channels": 4,
}


def _random(part: str, configuration: dict[str, Any]) -> Any:
    torch.manual_seed(0)
    return SDXL.build_component(part, configuration)


def _same(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_an_autoencoder_with_attention_goes_there_and_back() -> None:
    model = _random("vae", _AUTOENCODER)
    own = model.state_dict()
    _same(convert_ldm_vae_checkpoint(published("vae", own, model), model.config), own)


def test_the_second_text_encoder_goes_there_and_back() -> None:
    model = _random("text_encoder_2", _CLIP)
    own = model.state_dict()
    file = {f"x.{name}": tensor for name, tensor in published("text_encoder_2", own, model).items()}
    _same(convert_open_clip_checkpoint(model, file, "x."), {inside_text_model(name): each for name, each in own.items()})


@pytest.mark.parametrize(
    ("origin", "stored", "wanted", "fits"),
    [
        (CheckpointKey("x"), (4, 3), (4, 3), True),
        (CheckpointKey("x"), (4, 3, 1, 1), (4, 3), True),
        (CheckpointKey("x"), (4, 3, 3, 3), (4, 3), False),
        (CheckpointKey("x", rows=Rows(1, 2, 3)), (12, 3), (4, 3), True),
        (CheckpointKey("x", rows=Rows(1, 2, 3)), (4, 3), (4, 3), False),
        (CheckpointKey("x", is_transposed=True), (3, 4), (4, 3), True),
        (CheckpointKey("x", is_transposed=True), (4, 3), (4, 3), False),
    ],
)
def test_a_tensor_of_another_shape_does_not_fit(
    origin: CheckpointKey, stored: tuple[int, ...], wanted: tuple[int, ...], fits: bool
) -> None:
    assert origin.fits(stored, wanted) is fits


def test_what_no_text_encoder_has_is_refused() -> None:
    with pytest.raises(ValueError, match=r"text_model\.logit_scale: not a tensor of a CLIP text encoder"):
        of_open_clip("logit_scale")
