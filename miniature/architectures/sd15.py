"""Stable Diffusion 1.5's UNet and text encoder in small, begun as what they share with mini-sdxl's."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer, PreTrainedModel

from miniature.architectures.base import TEXT_WIDTH, Architecture, text_config
from miniature.reading import Reader


class SD15(Architecture):
    """One text encoder, whose last states condition a UNet without attention at its lowest resolution (arXiv 2112.10752)."""

    empty_captions = 0.1

    def __init__(self, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        self.text_encoder = CLIPTextModel(text_config(tokenizer))
        self.unet = _unet()
        self.state_reader = Reader(TEXT_WIDTH)

    @property
    def text_encoders(self) -> Sequence[PreTrainedModel]:
        return (self.text_encoder,)

    @property
    def readers(self) -> Sequence[Reader]:
        return (self.state_reader,)

    def encode_text(self, tokens: Tensor) -> tuple[Tensor, ...]:
        return (self.text_encoder(tokens).last_hidden_state,)

    def summaries(self, text: tuple[Tensor, ...]) -> Sequence[Tensor]:
        return (text[0].mean(dim=1),)

    def predict(self, noisy: Tensor, timesteps: Tensor, text: tuple[Tensor, ...], keep_text: Tensor, time_ids: Tensor) -> Tensor:
        # No prompt is the empty prompt to Stable Diffusion 1.x, and no sizes are told.
        noise: Tensor = self.unet(noisy, timesteps, text[0]).sample
        return noise

    def begin_as(self, base: Path) -> None:
        """Take over what mini-sdxl in ``base`` has in common: how to draw the world is known then, and its words nearly so."""
        other = UNet2DConditionModel.from_pretrained(base / "unet", dtype=torch.float32, local_files_only=True)
        self.unet.load_state_dict(_fitting(other.state_dict(), self.unet.state_dict()))
        text = CLIPTextModel.from_pretrained(base / "text_encoder", dtype=torch.float32, local_files_only=True)
        self.text_encoder.load_state_dict(text.state_dict())


def _fitting(theirs: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``own`` weights, each taken from ``theirs`` where there is one of its name."""
    return {name: _fitted(theirs[name], weight) if name in theirs else weight for name, weight in own.items()}


def _fitted(theirs: Tensor, own: Tensor) -> Tensor:
    """Their weight in the shape of ``own``: a linear layer as a 1 × 1 convolution, of two text encoders' channels the first's."""
    if own.dim() == 4 and theirs.dim() == 2:
        return theirs[..., None, None]
    return theirs[:, : own.shape[1]] if own.dim() == 2 else theirs


def _unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(64, 128, 128),
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        attention_head_dim=4,
        norm_num_groups=16,
        cross_attention_dim=TEXT_WIDTH,
    )
