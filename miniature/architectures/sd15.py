"""Stable Diffusion 1.5's UNet and text encoder in small, initialized from the weights they share with mini-sdxl's."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer, PreTrainedModel

from miniature.architectures.base import TEXT_WIDTH, Architecture, text_config, tokenize
from miniature.objective import NoiseObjective
from miniature.probes import AttributeProbe


class SD15(Architecture):
    """One text encoder whose last states condition a UNet without attention at its lowest resolution (arXiv 2112.10752)."""

    objective = NoiseObjective()
    caption_dropout_rate = 0.1

    def __init__(self, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.text_encoder = CLIPTextModel(text_config(tokenizer))
        self.unet = _unet()
        self.state_reader = AttributeProbe(TEXT_WIDTH)

    @property
    def denoiser(self) -> UNet2DConditionModel:
        return self.unet

    @property
    def text_encoders(self) -> Sequence[PreTrainedModel]:
        return (self.text_encoder,)

    @property
    def probes(self) -> Sequence[AttributeProbe]:
        return (self.state_reader,)

    def tokenize(self, captions: list[str]) -> Tensor:
        return tokenize(self.tokenizer, captions)

    def encode_text(self, tokens: Tensor) -> tuple[Tensor, ...]:
        return (self.text_encoder(tokens).last_hidden_state,)

    def probe_inputs(self, text: tuple[Tensor, ...]) -> Sequence[Tensor]:
        return (text[0].mean(dim=1),)

    def predict(self, noisy: Tensor, times: Tensor, text: tuple[Tensor, ...], keep_text: Tensor, time_ids: Tensor) -> Tensor:
        # Stable Diffusion 1.x uses the empty prompt where there is no prompt, and has no size conditioning.
        noise: Tensor = self.unet(noisy, times, text[0]).sample
        return noise

    def init_from_sdxl(self, base: Path) -> None:
        """Copy the weights shared with the mini-sdxl in ``base``, which already knows how to draw the world and most words."""
        sdxl_unet = UNet2DConditionModel.from_pretrained(base / "unet", dtype=torch.float32, local_files_only=True)
        self.unet.load_state_dict(_merge_weights(sdxl_unet.state_dict(), self.unet.state_dict()))
        sdxl_text = CLIPTextModel.from_pretrained(base / "text_encoder", dtype=torch.float32, local_files_only=True)
        self.text_encoder.load_state_dict(sdxl_text.state_dict())


def _merge_weights(source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the ``target`` weights, each replaced by the one of the same name in ``source`` where there is one."""
    return {name: _reshape(source[name], weight) if name in source else weight for name, weight in target.items()}


def _reshape(source: Tensor, target: Tensor) -> Tensor:
    """Return ``source`` in the shape of ``target``.

    A linear layer becomes a 1 × 1 convolution; of the channels of two text encoders only those of the first are kept.
    """
    if target.dim() == 4 and source.dim() == 2:
        return source[..., None, None]
    return source[:, : target.shape[1]] if target.dim() == 2 else source


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
