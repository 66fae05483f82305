"""Stable Diffusion XL (arXiv 2307.01952): two text encoders, size and crop conditioning, an epsilon objective."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from zthumb.families.base import Conditioning, Family

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
_TOKENS = 77
_FEED_FORWARD = ("ff.net.0.proj", "ff.net.2")


class SDXL(Family):
    """SDXL base 1.0 and everything of its shape, ``models/mini-sdxl`` included."""

    name = "sdxl"
    picture_parts = ("vae",)
    text_parts = ("tokenizer", "tokenizer_2", "text_encoder", "text_encoder_2")
    lora_targets = MappingProxyType({"attention": _ATTENTION, "attention+feed-forward": _ATTENTION + _FEED_FORWARD})

    def load(self, folder: Path, dtype: torch.dtype, device: torch.device) -> Any:
        from diffusers import StableDiffusionXLPipeline
        from diffusers.utils import logging

        logging.disable_progress_bar()
        pipeline = StableDiffusionXLPipeline.from_pretrained(
            folder, dtype=dtype, local_files_only=True, use_safetensors=True, add_watermarker=False
        )
        pipeline.set_progress_bar_config(disable=True)
        for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder, pipeline.text_encoder_2):
            part.requires_grad_(False)
        return pipeline.to(device)

    def denoiser(self, pipeline: Any) -> Any:
        return pipeline.unet

    def encode_pictures(self, pipeline: Any, pictures: Tensor) -> Tensor:
        import torch

        # SDXL's autoencoder overflows in fp16.
        vae = pipeline.vae.to(torch.float32)
        with torch.no_grad():
            latents = vae.encode(pictures.to(vae.device, vae.dtype)).latent_dist.mean
        scaled: Tensor = (latents * vae.config.scaling_factor).float()
        return scaled

    def encode_prompts(self, pipeline: Any, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        import torch

        with torch.no_grad():
            states, _, pooled, _ = pipeline.encode_prompt(list(prompts), do_classifier_free_guidance=False)
        return states.float(), pooled.float()

    def cut_off(self, folder: Path, prompts: Sequence[str]) -> list[str]:
        room = _TOKENS - 2  # between the marks of start and end
        # A token is a byte at least, and reading a tokenizer takes seconds.
        if all(len(prompt.encode()) <= room for prompt in prompts):
            return [""] * len(prompts)
        from transformers import CLIPTokenizer

        tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
        tokens = tokenizer(list(prompts), add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        pairs = zip(prompts, tokens["offset_mapping"], strict=True)
        return [prompt[offsets[room][0] :] if len(offsets) > room else "" for prompt, offsets in pairs]

    def noise_levels(self, pipeline: Any) -> Tensor:
        levels: Tensor = pipeline.scheduler.alphas_cumprod
        return levels

    def predict(self, denoiser: Any, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        added = {"text_embeds": conditioning.pooled, "time_ids": conditioning.time_ids}
        predicted: Tensor = denoiser(noisy, timesteps, conditioning.states, added_cond_kwargs=added).sample
        return predicted


FAMILY = SDXL()
