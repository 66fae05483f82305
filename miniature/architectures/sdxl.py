"""SDXL's UNet and both its text encoders in small."""

from collections.abc import Sequence

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer, PreTrainedModel

from miniature.architectures.base import TEXT_WIDTH, Architecture, spread_embeddings, text_config
from miniature.reading import Reader

TIME_WIDTH = 32


class SDXL(Architecture):
    """Two text encoders and a UNet with size and crop conditioning (arXiv 2307.01952)."""

    empty_captions = 0.05  # as many are zeroed, which is what SDXL is given for no prompt

    def __init__(self, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        self.text_encoder = CLIPTextModel(text_config(tokenizer))
        self.text_encoder_2 = CLIPTextModelWithProjection(text_config(tokenizer))
        self.unet = _unet()
        self.state_reader = Reader(2 * TEXT_WIDTH)
        self.pooled_reader = Reader(TEXT_WIDTH)
        for embeddings in (self.text_encoder.embeddings, self.text_encoder_2.text_model.embeddings):
            spread_embeddings(embeddings)

    @property
    def text_encoders(self) -> Sequence[PreTrainedModel]:
        return self.text_encoder, self.text_encoder_2

    @property
    def readers(self) -> Sequence[Reader]:
        return self.state_reader, self.pooled_reader

    def encode_text(self, tokens: Tensor) -> tuple[Tensor, ...]:
        return encode_text(self.text_encoder, self.text_encoder_2, tokens)

    def summaries(self, text: tuple[Tensor, ...]) -> Sequence[Tensor]:
        prompt_embeds, pooled = text
        return prompt_embeds.mean(dim=1), pooled

    def predict(self, noisy: Tensor, timesteps: Tensor, text: tuple[Tensor, ...], keep_text: Tensor, time_ids: Tensor) -> Tensor:
        prompt_embeds, pooled = text
        keep = keep_text[:, None]
        conditions = {"text_embeds": pooled * keep, "time_ids": time_ids}
        noise: Tensor = self.unet(noisy, timesteps, prompt_embeds * keep[..., None], added_cond_kwargs=conditions).sample
        return noise


def encode_text(first: CLIPTextModel, second: CLIPTextModelWithProjection, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens (B, 77) → both towers' penultimate states (B, 77, 256) and the pooled embedding (B, 128), as SDXL does."""
    one, other = first(tokens, output_hidden_states=True), second(tokens, output_hidden_states=True)
    return torch.cat([one.hidden_states[-2], other.hidden_states[-2]], dim=-1), other.text_embeds


def _unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(64, 128, 128),
        down_block_types=("CrossAttnDownBlock2D",) * 3,
        up_block_types=("CrossAttnUpBlock2D",) * 3,
        layers_per_block=1,
        transformer_layers_per_block=(1, 1, 2),
        attention_head_dim=(2, 4, 4),
        norm_num_groups=16,
        cross_attention_dim=2 * TEXT_WIDTH,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=TIME_WIDTH,
        projection_class_embeddings_input_dim=TEXT_WIDTH + 6 * TIME_WIDTH,
    )
