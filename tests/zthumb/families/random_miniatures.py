"""Miniatures of the families that have no trained one yet: their real classes, small, with random weights."""

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLFlux2,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Pipeline,
    Flux2Transformer2DModel,
)
from torch import nn
from transformers import (
    CLIPTextModel,
    CLIPTokenizer,
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from foundation.files import read_json, write_json
from miniature import assemble, qwen_tokenizer, t5_tokenizer
from miniature.architectures.flux import Flux
from miniature.architectures.qwen_image import QwenImage, autoencoder
from miniature.architectures.z_image import ZImage
from miniature.captions import vocabulary
from zthumb.families.shared import dummy_tokenizers

_LANGUAGE_MODEL: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
}


def write_flux(base: Path, folder: Path) -> None:
    """Write FLUX.1 in small to ``folder``, next to the mini-sdxl in ``base``, whose autoencoder and tokenizer it has."""
    torch.manual_seed(0)
    clip = CLIPTextModel.from_pretrained(base / "text_encoder_2", dtype=torch.float32, local_files_only=True)
    tokenizer = CLIPTokenizer.from_pretrained(base / "tokenizer", local_files_only=True)
    model = Flux(clip, tokenizer, t5_tokenizer.build())
    _fill_zeros(model.transformer)
    assemble.save_flux(model, _autoencoder(base), base, folder)


def write_z_image(base: Path, folder: Path) -> None:
    """Write Z-Image in small to ``folder``, next to the mini-sdxl in ``base``, whose autoencoder it has."""
    torch.manual_seed(0)
    model = ZImage(qwen_tokenizer.build(0, vocabulary()))
    _fill_zeros(model.transformer)
    assemble.save_z_image(model, _autoencoder(base), base, folder)


def write_qwen_image(base: Path, folder: Path) -> None:
    """Write Qwen-Image in small to ``folder``."""
    torch.manual_seed(0)
    model = QwenImage(qwen_tokenizer.build(0, vocabulary()))
    _fill_zeros(model.transformer, std=0.05)
    assemble.save_qwen_image(model, autoencoder(), folder)


def write_flux2(base: Path, folder: Path) -> None:
    """Write FLUX.2 klein in small to ``folder``."""
    torch.manual_seed(0)
    tokenizer = qwen_tokenizer.build(0, vocabulary())
    marks = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None}
    encoder = Qwen3ForCausalLM(Qwen3Config(vocab_size=len(tokenizer), tie_word_embeddings=True, **_LANGUAGE_MODEL, **marks))
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)
    transformer = _flux2_transformer(guidance_embeds=False)
    Flux2KleinPipeline(scheduler, _flux2_autoencoder(), encoder, tokenizer, transformer).save_pretrained(folder)
    (folder / "text_encoder" / "generation_config.json").unlink(missing_ok=True)


def write_flux2_dev(base: Path, folder: Path) -> None:
    """Write FLUX.2 dev in small to ``folder``."""
    torch.manual_seed(0)
    tokenizer = dummy_tokenizers.build("PixtralProcessor")
    image_tower = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "head_dim": 8}
    configuration = Mistral3Config(
        text_config={"model_type": "mistral", "vocab_size": len(tokenizer), **_LANGUAGE_MODEL, "tie_word_embeddings": False},
        vision_config={"model_type": "pixtral", "image_size": 28, "patch_size": 14, **image_tower},
        tie_word_embeddings=False,
    )
    encoder = Mistral3ForConditionalGeneration(configuration)
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)
    transformer = _flux2_transformer(guidance_embeds=True)
    Flux2Pipeline(scheduler, _flux2_autoencoder(), encoder, tokenizer, transformer).save_pretrained(folder)
    (folder / "text_encoder" / "generation_config.json").unlink(missing_ok=True)
    index = read_json(folder / "model_index.json")
    # As the published base has it.
    write_json(folder / "model_index.json", {**index, "tokenizer": ["transformers", "PixtralProcessor"]})


def _flux2_transformer(*, guidance_embeds: bool) -> Flux2Transformer2DModel:
    transformer = Flux2Transformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=2,
        attention_head_dim=32,
        num_attention_heads=2,
        joint_attention_dim=3 * 64,
        axes_dims_rope=(8, 8, 8, 8),
        guidance_embeds=guidance_embeds,
    )
    for name, module in transformer.named_modules():
        if isinstance(module, nn.Linear) and "modulation" in name:
            # As small as they begin, no block changes much.
            nn.init.normal_(module.weight, std=0.3)
    return transformer


def _flux2_autoencoder() -> AutoencoderKLFlux2:
    return AutoencoderKLFlux2(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(16, 16, 32, 32),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=128,
        mid_block_add_attention=False,
    )


def _fill_zeros(transformer: nn.Module, std: float = 0.03) -> None:
    for module in transformer.modules():
        # Some begin at zero, where an image is the same whatever its prompt.
        if isinstance(module, nn.Linear) and not module.weight.any():
            nn.init.normal_(module.weight, std=std)


def _autoencoder(base: Path) -> AutoencoderKL:
    autoencoder = AutoencoderKL.from_pretrained(base / "vae", dtype=torch.float32, local_files_only=True)
    autoencoder.register_to_config(shift_factor=-0.1259, scaling_factor=0.7534)
    return autoencoder
