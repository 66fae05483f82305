"""Miniatures of the families that have no trained one yet: their real classes, small, with random weights."""

from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLFlux2,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
)
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer, Qwen3Config, Qwen3ForCausalLM

from miniature import assemble, qwen_tokenizer, t5_tokenizer
from miniature.architectures.flux import Flux
from miniature.architectures.qwen_image import QwenImage, autoencoder
from miniature.architectures.z_image import ZImage
from miniature.captions import vocabulary


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
    text = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}
    marks = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None}
    encoder = Qwen3ForCausalLM(
        Qwen3Config(vocab_size=len(tokenizer), num_hidden_layers=4, tie_word_embeddings=True, **text, **marks)
    )
    transformer = Flux2Transformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=2,
        attention_head_dim=32,
        num_attention_heads=2,
        joint_attention_dim=3 * 64,
        axes_dims_rope=(8, 8, 8, 8),
        guidance_embeds=False,
    )
    for name, module in transformer.named_modules():
        if isinstance(module, nn.Linear) and "modulation" in name:
            # As small as they begin, no block changes much.
            nn.init.normal_(module.weight, std=0.3)
    autoencoder = AutoencoderKLFlux2(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(16, 16, 32, 32),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=128,
        mid_block_add_attention=False,
    )
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)
    pipeline = Flux2KleinPipeline(scheduler, autoencoder, encoder, tokenizer, transformer)
    pipeline.save_pretrained(folder)
    (folder / "text_encoder" / "generation_config.json").unlink(missing_ok=True)


def _fill_zeros(transformer: nn.Module, std: float = 0.03) -> None:
    for module in transformer.modules():
        # Some begin at zero, where an image is the same whatever its prompt.
        if isinstance(module, nn.Linear) and not module.weight.any():
            nn.init.normal_(module.weight, std=std)


def _autoencoder(base: Path) -> AutoencoderKL:
    autoencoder = AutoencoderKL.from_pretrained(base / "vae", dtype=torch.float32, local_files_only=True)
    autoencoder.register_to_config(shift_factor=-0.1259, scaling_factor=0.7534)
    return autoencoder
