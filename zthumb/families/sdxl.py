"""Stable Diffusion XL (arXiv 2307.01952): two text encoders, size and crop conditioning, an epsilon objective."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, get_args

from foundation.errors import BadInput
from zthumb.families.base import Conditioning, Family, Prediction

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
_TOKENS, _TIME_IDS, _FACTOR = 77, 6, 8
_FEED_FORWARD = ("ff.net.0.proj", "ff.net.2")
_CONVOLUTION = ("conv1", "conv2", "conv_shortcut", "downsamplers.0.conv", "upsamplers.0.conv")


class SDXL(Family):
    """SDXL base 1.0 and everything of its shape, ``models/mini-sdxl`` included."""

    name = "sdxl"
    denoiser_part = "unet"
    adapted_parts = ("unet", "text_encoder", "text_encoder_2")
    reference = Path(__file__).parent / "bases" / "stable-diffusion-xl-base-1.0"
    picture_parts = ("vae",)
    text_parts = ("tokenizer", "tokenizer_2", "text_encoder", "text_encoder_2")
    lora_targets = MappingProxyType(
        {
            "attention": _ATTENTION,
            "attention+feed-forward": _ATTENTION + _FEED_FORWARD,
            "attention+feed-forward+convolution": _ATTENTION + _FEED_FORWARD + _CONVOLUTION,
        }
    )

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

    def empty_part(self, part: str, configuration: Mapping[str, Any]) -> Any:
        from diffusers import UNet2DConditionModel
        from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

        if part == "unet":
            return UNet2DConditionModel.from_config(dict(configuration))
        kind = CLIPTextModel if part == "text_encoder" else CLIPTextModelWithProjection
        return kind(CLIPTextConfig(**configuration))

    def empty_inputs(self, configuration: Mapping[str, Any], count: int, resolution: int) -> tuple[Tensor, Conditioning]:
        import torch

        side, width = resolution // _FACTOR, configuration["cross_attention_dim"]
        pooled = configuration["projection_class_embeddings_input_dim"] - _TIME_IDS * configuration["addition_time_embed_dim"]
        noisy = torch.zeros(count, configuration["in_channels"], side, side)
        states = torch.zeros(count, _TOKENS, width)
        return noisy, Conditioning(states, torch.zeros(count, pooled), torch.zeros(count, _TIME_IDS))

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
            # The pipeline's other parts may be elsewhere.
            device = pipeline.text_encoder.device
            states, _, pooled, _ = pipeline.encode_prompt(list(prompts), device=device, do_classifier_free_guidance=False)
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

    def prediction(self, pipeline: Any) -> Prediction:
        named = pipeline.scheduler.config.prediction_type
        if named not in get_args(Prediction):
            raise BadInput(f"the base's scheduler predicts {named!r}; known are {', '.join(get_args(Prediction))}.")
        predicted: Prediction = named
        return predicted

    def predict(self, denoiser: Any, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        added = {"text_embeds": conditioning.pooled, "time_ids": conditioning.time_ids}
        predicted: Tensor = denoiser(noisy, timesteps, conditioning.states, added_cond_kwargs=added).sample
        return predicted


FAMILY = SDXL()
