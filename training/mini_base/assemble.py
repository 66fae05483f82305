"""The trained parts saved as the two models that are committed, in fp16 safetensors."""

from pathlib import Path

import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionXLPipeline
from transformers import CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

from foundation.files import read_json, whole_folder, write_json
from training.mini_base import tokenizer as tokenizers
from training.mini_base.denoiser import NOISE_SCHEDULE, Denoiser
from training.mini_base.world import RESOLUTION


def pipeline(autoencoder: AutoencoderKL, denoiser: Denoiser, tokenizer: CLIPTokenizer) -> StableDiffusionXLPipeline:
    """The parts as the pipeline that every SDXL program knows."""
    scheduler = EulerDiscreteScheduler(
        **NOISE_SCHEDULE, timestep_spacing="leading", steps_offset=1, prediction_type="epsilon", interpolation_type="linear"
    )
    made = StableDiffusionXLPipeline(
        vae=autoencoder,
        text_encoder=denoiser.text_encoder,
        text_encoder_2=denoiser.text_encoder_2,
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=denoiser.unet,
        scheduler=scheduler,
        force_zeros_for_empty_prompt=True,
        add_watermarker=False,
    )
    made.set_progress_bar_config(disable=True)
    return made


def save_pipeline(made: StableDiffusionXLPipeline, folder: Path) -> None:
    """Write ``models/mini-sdxl``: fp16 weights, both tokenizers with their merges."""
    with whole_folder(folder) as temporary:
        made.to(torch.float16).save_pretrained(temporary, safe_serialization=True)
        for name in ("tokenizer", "tokenizer_2"):
            tokenizers.save(getattr(made, name), temporary / name)
        for name in ("text_encoder", "text_encoder_2"):
            _load_in_full_precision(temporary / name / "config.json")


def _load_in_full_precision(config: Path) -> None:
    # Asked for no precision, diffusers loads its parts in fp32 but transformers in the one its configuration names, and the two
    # would not fit together.
    write_json(config, {**read_json(config), "dtype": "float32"})


def save_clip(model: CLIPModel, tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Write ``models/mini-clip``: fp16 weights, tokenizer, image processor."""
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": RESOLUTION},
        crop_size={"height": RESOLUTION, "width": RESOLUTION},
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    )
    with whole_folder(folder) as temporary:
        model.to(torch.float16).save_pretrained(temporary, safe_serialization=True)
        tokenizers.save(tokenizer, temporary)
        processor.save_pretrained(temporary)
