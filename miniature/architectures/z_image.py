"""Z-Image's transformer and its text encoder in small."""

from collections.abc import Sequence

from diffusers import ZImageTransformer2DModel
from torch import Tensor, nn
from transformers import PreTrainedModel, Qwen2Tokenizer, Qwen3Config, Qwen3Model

from miniature.architectures.base import TEXT_WIDTH, Architecture, matrices_inside
from miniature.objective import FlowObjective
from miniature.probes import AttributeProbe
from miniature.qwen_tokenizer import MAX_LENGTH
from zthumb.diffusion.conditioning import Conditioning
from zthumb.families.z_image import FAMILY, TEMPLATE

TEXT_LAYERS = 4
"""The last of them is not read, as in Z-Image."""


class ZImage(Architecture):
    """A causal language model whose states pass through a block of their own, then through the same blocks as the image's."""

    objective = FlowObjective()
    caption_dropout_rate = 0.1
    sees_crops = False

    def __init__(self, tokenizer: Qwen2Tokenizer) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.text_encoder = Qwen3Model(_text_config(tokenizer))
        self.transformer = _transformer()
        self.state_reader = AttributeProbe(TEXT_WIDTH)

    @property
    def denoiser(self) -> ZImageTransformer2DModel:
        return self.transformer

    @property
    def text_encoders(self) -> Sequence[PreTrainedModel]:
        return (self.text_encoder,)

    @property
    def matrices(self) -> Sequence[nn.Parameter]:
        return matrices_inside(self.transformer, self.text_encoder)

    @property
    def probes(self) -> Sequence[AttributeProbe]:
        return (self.state_reader,)

    def tokenize(self, captions: list[str]) -> Tensor:
        tokens: Tensor = TEMPLATE.tokenize(self.tokenizer, captions, MAX_LENGTH).input_ids
        return tokens

    def encode_text(self, tokens: Tensor) -> tuple[Tensor, ...]:
        mask = tokens != self.tokenizer.pad_token_id
        return self.text_encoder(tokens, attention_mask=mask, output_hidden_states=True).hidden_states[-2], mask

    def probe_inputs(self, text: tuple[Tensor, ...]) -> Sequence[Tensor]:
        states, mask = text
        return ((states * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True),)

    def predict(self, noisy: Tensor, times: Tensor, text: tuple[Tensor, ...], keep_text: Tensor, time_ids: Tensor) -> Tensor:
        states, mask = text
        embeds = tuple(state[kept] for state, kept in zip(states, mask, strict=True))
        return FAMILY.predict(self.transformer, noisy, times, Conditioning({"prompt_embeds": embeds}))


def _text_config(tokenizer: Qwen2Tokenizer) -> Qwen3Config:
    return Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=2 * TEXT_WIDTH,
        num_hidden_layers=TEXT_LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=TEXT_WIDTH // 4,
        max_position_embeddings=512,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )


def _transformer() -> ZImageTransformer2DModel:
    transformer = ZImageTransformer2DModel(
        in_channels=4,
        dim=192,
        n_layers=8,
        n_refiner_layers=1,
        n_heads=6,
        n_kv_heads=6,
        cap_feat_dim=TEXT_WIDTH,
        axes_dims=[8, 12, 12],
        axes_lens=[1024, 128, 128],
    )
    # Every block begins as the identity, and the output as zero (arXiv 2212.09748, section 3.2).
    for name, module in transformer.named_modules():
        if isinstance(module, nn.Linear) and ("adaLN_modulation" in name or name.endswith("all_final_layer.2-1.linear")):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
    nn.init.normal_(transformer.cap_pad_token, std=0.02)
    return transformer
