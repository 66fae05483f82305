"""SDXL's UNet and both its text encoders in small."""

from collections.abc import Sequence

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer, PreTrainedModel

from miniature.architectures.base import TEXT_WIDTH, Architecture, init_embeddings, text_config, tokenize
from miniature.objective import NoiseObjective
from miniature.probes import AttributeProbe

TIME_EMBED_DIM = 32


class SDXL(Architecture):
    """Two text encoders and a UNet with size and crop conditioning (arXiv 2307.01952)."""

    objective = NoiseObjective()
    caption_dropout_rate = 0.05  # as many again are zeroed, which is SDXL's conditioning without a prompt

    def __init__(self, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.text_encoder = CLIPTextModel(text_config(tokenizer))
        self.text_encoder_2 = CLIPTextModelWithProjection(text_config(tokenizer))
        self.unet = _unet()
        self.state_reader = AttributeProbe(2 * TEXT_WIDTH)
        self.pooled_reader = AttributeProbe(TEXT_WIDTH)
        for embeddings in (self.text_encoder.embeddings, self.text_encoder_2.text_model.embeddings):
            init_embeddings(embeddings)

    @property
    def denoiser(self) -> UNet2DConditionModel:
        return self.unet

    @property
    def text_encoders(self) -> Sequence[PreTrainedModel]:
        return self.text_encoder, self.text_encoder_2

    @property
    def probes(self) -> Sequence[AttributeProbe]:
        return self.state_reader, self.pooled_reader

    def tokenize(self, captions: list[str]) -> Tensor:
        return tokenize(self.tokenizer, captions)

    def encode_text(self, tokens: Tensor) -> tuple[Tensor, ...]:
        return encode_text(self.text_encoder, self.text_encoder_2, tokens)

    def probe_inputs(self, text: tuple[Tensor, ...]) -> Sequence[Tensor]:
        prompt_embeds, pooled = text
        return prompt_embeds.mean(dim=1), pooled

    def predict(self, noisy: Tensor, times: Tensor, text: tuple[Tensor, ...], keep_text: Tensor, time_ids: Tensor) -> Tensor:
        prompt_embeds, pooled = text
        keep = keep_text[:, None]
        conditions = {"text_embeds": pooled * keep, "time_ids": time_ids}
        noise: Tensor = self.unet(noisy, times, prompt_embeds * keep[..., None], added_cond_kwargs=conditions).sample
        return noise


def encode_text(encoder: CLIPTextModel, encoder_2: CLIPTextModelWithProjection, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Encode tokens (B, 77) as SDXL does: both encoders' penultimate states (B, 77, 256) and the pooled embedding (B, 128)."""
    output, output_2 = encoder(tokens, output_hidden_states=True), encoder_2(tokens, output_hidden_states=True)
    return torch.cat([output.hidden_states[-2], output_2.hidden_states[-2]], dim=-1), output_2.text_embeds


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
        addition_time_embed_dim=TIME_EMBED_DIM,
        projection_class_embeddings_input_dim=TEXT_WIDTH + 6 * TIME_EMBED_DIM,
    )
