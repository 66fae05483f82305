"""Miniatures of the families that have no trained one yet: their real classes, small, with random weights."""

from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer

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


def _fill_zeros(transformer: nn.Module, std: float = 0.03) -> None:
    for module in transformer.modules():
        # Some begin at zero, where an image is the same whatever its prompt.
        if isinstance(module, nn.Linear) and not module.weight.any():
            nn.init.normal_(module.weight, std=std)


def _autoencoder(base: Path) -> AutoencoderKL:
    autoencoder = AutoencoderKL.from_pretrained(base / "vae", dtype=torch.float32, local_files_only=True)
    autoencoder.register_to_config(shift_factor=-0.1259, scaling_factor=0.7534)
    return autoencoder
