"""Z-Image's transformer and its text encoder in small."""

from diffusers import ZImageTransformer2DModel
from torch import Tensor, nn
from transformers import Qwen2Tokenizer, Qwen3Config, Qwen3Model

from miniature.architectures.base import TEXT_WIDTH
from miniature.architectures.language_model import LanguageModelArchitecture
from miniature.qwen_tokenizer import MAX_LENGTH
from zthumb.families.z_image import FAMILY, TEMPLATE

TEXT_LAYERS = 4
"""The last of them is not read, as in Z-Image."""


class ZImage(LanguageModelArchitecture):
    """A causal language model whose states pass through a block of their own, then through the same blocks as the image's."""

    family = FAMILY

    def __init__(self, tokenizer: Qwen2Tokenizer) -> None:
        super().__init__(tokenizer, Qwen3Model(_text_config(tokenizer)), _transformer())

    def tokenize(self, captions: list[str]) -> Tensor:
        tokens: Tensor = TEMPLATE.tokenize(self.tokenizer, captions, MAX_LENGTH).input_ids
        return tokens

    def states(self, tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        return self.text_encoder(tokens, attention_mask=mask, output_hidden_states=True).hidden_states[-2], mask


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
