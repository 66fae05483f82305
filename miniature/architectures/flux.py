"""FLUX.1's transformer and both its text encoders in small."""

from collections.abc import Sequence

import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer, PreTrainedModel, T5Config, T5EncoderModel, T5Tokenizer

from miniature.architectures.base import TEXT_LAYERS, TEXT_WIDTH, Architecture, matrices_inside, tokenize
from miniature.objective import FlowObjective
from miniature.probes import AttributeProbe
from miniature.tokenizer import MAX_LENGTH
from zthumb.diffusion.conditioning import Conditioning
from zthumb.families.flux import FAMILY

UNGUIDED = 1.0
"""The guidance that the transformer is told when it is trained on images: that of no guidance at all."""

_DISTANCES = (1, -1, 2)
"""From a token to the one that the first, second and third head of the T5 encoder begin by reading."""
_BIAS = 5.0
"""With it, that token has four fifths of a head's attention."""


class Flux(Architecture):
    """A T5 encoder whose states are tokens beside the image's, and a CLIP encoder whose pooled embedding modulates all of them.

    The CLIP encoder is already trained and stays as it is.
    """

    objective = FlowObjective()
    caption_dropout_rate = 0.1
    sees_crops = False

    def __init__(self, clip: CLIPTextModel, tokenizer: CLIPTokenizer, tokenizer_2: T5Tokenizer) -> None:
        super().__init__()
        self.tokenizer, self.tokenizer_2 = tokenizer, tokenizer_2
        self.text_encoder = clip.requires_grad_(False)
        self.text_encoder_2 = T5EncoderModel(_t5_config(tokenizer_2))
        _read_neighbours(self.text_encoder_2)
        self.transformer = _transformer()
        self.state_reader = AttributeProbe(TEXT_WIDTH)

    @property
    def denoiser(self) -> FluxTransformer2DModel:
        return self.transformer

    @property
    def text_encoders(self) -> Sequence[PreTrainedModel]:
        return self.text_encoder, self.text_encoder_2

    @property
    def matrices(self) -> Sequence[nn.Parameter]:
        return matrices_inside(self.transformer, self.text_encoder_2)

    @property
    def probes(self) -> Sequence[AttributeProbe]:
        return (self.state_reader,)

    def tokenize(self, captions: list[str]) -> Tensor:
        return torch.cat([tokenize(self.tokenizer, captions), tokenize(self.tokenizer_2, captions)], dim=1)

    def compile_denoiser(self) -> None:
        self.transformer.compile()

    def encode_text(self, tokens: Tensor) -> tuple[Tensor, ...]:
        with torch.no_grad():
            pooled = self.text_encoder(tokens[:, :MAX_LENGTH]).pooler_output
        return self.text_encoder_2(tokens[:, MAX_LENGTH:])[0], pooled

    def probe_inputs(self, text: tuple[Tensor, ...]) -> Sequence[Tensor]:
        return (text[0].mean(dim=1),)

    def predict(self, noisy: Tensor, times: Tensor, text: tuple[Tensor, ...], keep_text: Tensor, time_ids: Tensor) -> Tensor:
        return predict(self.transformer, noisy, times, text, torch.full_like(times, UNGUIDED))


def predict(
    transformer: FluxTransformer2DModel, noisy: Tensor, times: Tensor, text: tuple[Tensor, ...], guidance: Tensor
) -> Tensor:
    """Predict the velocity in ``noisy`` (B, 4, h, w) at ``times``, ``guidance`` and of the text that ``encode_text`` returns."""
    prompt_embeds, pooled = text
    conditioning = Conditioning.stacked(prompt_embeds=prompt_embeds, pooled_prompt_embeds=pooled, guidance=guidance)
    return FAMILY.predict(transformer, noisy, times, conditioning)


def _t5_config(tokenizer: T5Tokenizer) -> T5Config:
    return T5Config(
        vocab_size=len(tokenizer),
        d_model=TEXT_WIDTH,
        d_kv=TEXT_WIDTH // 4,
        d_ff=2 * TEXT_WIDTH,
        num_heads=4,
        num_layers=TEXT_LAYERS,
        feed_forward_proj="gated-gelu",
        dropout_rate=0.0,
        tie_word_embeddings=False,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )


@torch.no_grad()
def _read_neighbours(text_encoder: T5EncoderModel) -> None:
    """Let each head but the last begin by reading the token at one distance.

    The bias of distances is all that a T5 encoder knows of order, and FLUX.1's transformer knows nothing of it. From values near
    zero it was never learned: the two colours of a prompt then change places in one image of fourteen.
    """
    attention = text_encoder.encoder.block[0].layer[0].SelfAttention
    buckets = attention._relative_position_bucket(torch.tensor(_DISTANCES), num_buckets=attention.relative_attention_num_buckets)
    for head, bucket in enumerate(buckets.tolist()):
        attention.relative_attention_bias.weight[bucket, head] += _BIAS


def _transformer() -> FluxTransformer2DModel:
    transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=2,
        num_single_layers=3,
        attention_head_dim=32,
        num_attention_heads=8,
        joint_attention_dim=TEXT_WIDTH,
        pooled_projection_dim=TEXT_WIDTH,
        guidance_embeds=True,
        axes_dims_rope=(8, 12, 12),
    )
    # Every block begins as the identity, and the output as zero (arXiv 2212.09748, section 3.2).
    for name, module in transformer.named_modules():
        is_modulation = name.endswith((".norm1.linear", ".norm1_context.linear", ".norm.linear", "norm_out.linear"))
        if isinstance(module, nn.Linear) and (is_modulation or name == "proj_out"):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
    return transformer
