"""Qwen-Image's transformer, text encoder and autoencoder in small."""

from diffusers import AutoencoderKLQwenImage, QwenImageTransformer2DModel
from torch import Tensor, nn
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2Tokenizer

from miniature.architectures.base import TEXT_WIDTH
from miniature.architectures.language_model import LanguageModelArchitecture
from miniature.probes import AttributeProbe
from zthumb.families.qwen_image import DROPPED, FAMILY, tokenize

TEXT_LAYERS = 3
CHANNELS = 4
"""Channels of a latent."""


class QwenImage(LanguageModelArchitecture):
    """A causal language model whose states are tokens beside the image's, in a stream of their own."""

    family = FAMILY

    def __init__(self, tokenizer: Qwen2Tokenizer) -> None:
        super().__init__(tokenizer, Qwen2_5_VLForConditionalGeneration(_text_config(tokenizer)), _transformer())
        # Left to denoising alone, signs were drawn and none of them was the one in the prompt.
        self.state_reader = AttributeProbe(TEXT_WIDTH, has_signs=True)

    def tokenize(self, captions: list[str]) -> Tensor:
        tokens: Tensor = tokenize(self.tokenizer, captions).input_ids
        return tokens

    def states(self, tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        states = self.text_encoder(tokens, attention_mask=mask, output_hidden_states=True).hidden_states[-1]
        return states[:, DROPPED:], mask[:, DROPPED:]


def autoencoder() -> AutoencoderKLQwenImage:
    """Return an untrained autoencoder of factor eight."""
    return AutoencoderKLQwenImage(
        base_dim=16,
        z_dim=CHANNELS,
        dim_mult=[1, 2, 3, 4],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        latents_mean=[0.0] * CHANNELS,
        latents_std=[1.0] * CHANNELS,
    )


def _text_config(tokenizer: Qwen2Tokenizer) -> Qwen2_5_VLConfig:
    marks = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None}
    head = TEXT_WIDTH // 4
    sections = [head // 8, 3 * head // 16, 3 * head // 16]
    return Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": TEXT_WIDTH,
            "intermediate_size": 2 * TEXT_WIDTH,
            "num_hidden_layers": TEXT_LAYERS,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 1024,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": sections},
            **marks,
        },
        # Nothing here shows it an image.
        vision_config={
            "depth": 1,
            "hidden_size": 16,
            "num_heads": 2,
            "intermediate_size": 32,
            "out_hidden_size": TEXT_WIDTH,
            "fullatt_block_indexes": [0],
        },
        image_token_id=tokenizer.unk_token_id,
        video_token_id=tokenizer.unk_token_id,
        vision_start_token_id=tokenizer.unk_token_id,
        vision_end_token_id=tokenizer.unk_token_id,
        tie_word_embeddings=True,
    )


def _transformer() -> QwenImageTransformer2DModel:
    transformer = QwenImageTransformer2DModel(
        patch_size=2,
        in_channels=4 * CHANNELS,
        out_channels=CHANNELS,
        num_layers=5,
        attention_head_dim=32,
        num_attention_heads=6,
        joint_attention_dim=TEXT_WIDTH,
        axes_dims_rope=(8, 12, 12),
    )
    # Every block begins as the identity, and the output as zero (arXiv 2212.09748, section 3.2).
    for name, module in transformer.named_modules():
        if isinstance(module, nn.Linear) and ("_mod." in name or name in ("norm_out.linear", "proj_out")):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
    return transformer
