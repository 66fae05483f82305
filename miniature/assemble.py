"""Save the trained models in the layout that is committed: fp16 safetensors."""

import shutil
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLQwenImage,
    DDIMScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    QwenImagePipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
    ZImagePipeline,
)
from transformers import CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

from foundation.files import atomic_directory, read_json, write_json
from miniature import tokenizer as tokenizers
from miniature.architectures.flux import Flux
from miniature.architectures.qwen_image import QwenImage
from miniature.architectures.sd15 import SD15
from miniature.architectures.sdxl import SDXL
from miniature.architectures.z_image import ZImage
from miniature.objective import NOISE_SCHEDULE
from miniature.world import RESOLUTION
from zthumb.checkpoints.published import write_published_names
from zthumb.families.qwen_image import OWN_RESOLUTION

_SHARED = ("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "vae")
"""Components that the few-step model shares with its base: links instead of 7 MB twice."""


def build_pipeline(autoencoder: AutoencoderKL, denoiser: SDXL, tokenizer: CLIPTokenizer) -> StableDiffusionXLPipeline:
    """Assemble the components as a standard SDXL pipeline."""
    scheduler = EulerDiscreteScheduler(
        **NOISE_SCHEDULE, timestep_spacing="leading", steps_offset=1, prediction_type="epsilon", interpolation_type="linear"
    )
    pipeline = StableDiffusionXLPipeline(
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
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def save_pipeline(pipeline: StableDiffusionXLPipeline, folder: Path) -> None:
    """Write ``models/mini-sdxl``: fp16 weights, both tokenizers with their merges."""
    with atomic_directory(folder) as temporary:
        pipeline.to(torch.float16).save_pretrained(temporary, safe_serialization=True)
        write_published_names(temporary)
        for name in ("tokenizer", "tokenizer_2"):
            tokenizers.save(getattr(pipeline, name), temporary / name)
        for name in ("text_encoder", "text_encoder_2"):
            _set_float32_dtype(temporary / name / "config.json")


def save_few_step(student: UNet2DConditionModel, base: Path, folder: Path) -> None:
    """Write ``models/mini-sdxl-turbo``: the student's UNet, SDXL-Turbo's scheduler, and links to ``base`` for everything else."""
    scheduler = EulerAncestralDiscreteScheduler(**NOISE_SCHEDULE, timestep_spacing="trailing", prediction_type="epsilon")
    index = read_json(base / "model_index.json")
    with atomic_directory(folder) as temporary:
        student.to(torch.float16).save_pretrained(temporary / "unet", safe_serialization=True)
        # The path from which the base was loaded differs between machines.
        config_path = temporary / "unet" / "config.json"
        config = read_json(config_path)
        write_json(config_path, {key: value for key, value in config.items() if key != "_name_or_path"})
        scheduler.save_pretrained(temporary / "scheduler")
        write_json(temporary / "model_index.json", {**index, "scheduler": ["diffusers", type(scheduler).__name__]})
        for name in _SHARED:
            (temporary / name).symlink_to(Path("..") / base.name / name)


def save_sd15(trained: SD15, autoencoder: AutoencoderKL, tokenizer: CLIPTokenizer, base: Path, folder: Path) -> None:
    """Write ``models/mini-sd15``: fp16 weights, and links to the autoencoder and tokenizer of ``base`` next to it."""
    # Not PNDM, which stable-diffusion-v1-5 has: at 12 steps every second object would have another colour than its prompt says.
    scheduler = DDIMScheduler(**NOISE_SCHEDULE, clip_sample=False, set_alpha_to_one=False, steps_offset=1)
    pipeline = StableDiffusionPipeline(
        vae=autoencoder,
        text_encoder=trained.text_encoder,
        tokenizer=tokenizer,
        unet=trained.unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    with atomic_directory(folder) as temporary:
        pipeline.to(torch.float16).save_pretrained(temporary, safe_serialization=True)
        write_published_names(temporary)
        _set_float32_dtype(temporary / "text_encoder" / "config.json")
        for name in ("vae", "tokenizer"):
            shutil.rmtree(temporary / name)
            (temporary / name).symlink_to(Path("..") / base.name / name)


def save_flux(trained: Flux, autoencoder: AutoencoderKL, base: Path, folder: Path) -> None:
    """Write ``models/mini-flux``: fp16 weights, and links to the autoencoder's weights and a tokenizer of ``base`` next to it."""
    # As FLUX.1-dev has it.
    scheduler = FlowMatchEulerDiscreteScheduler(
        shift=3.0, use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15, base_image_seq_len=256, max_image_seq_len=4096
    )
    pipeline = FluxPipeline(
        scheduler=scheduler,
        vae=autoencoder,
        text_encoder=trained.text_encoder,
        tokenizer=trained.tokenizer,
        text_encoder_2=trained.text_encoder_2,
        tokenizer_2=trained.tokenizer_2,
        transformer=trained.transformer,
    )
    with atomic_directory(folder) as temporary:
        pipeline.to(torch.float16).save_pretrained(temporary, safe_serialization=True)
        write_published_names(temporary)
        for name in ("text_encoder", "text_encoder_2"):
            _set_float32_dtype(temporary / name / "config.json")
        _link_autoencoder(temporary, base)
        shutil.rmtree(temporary / "tokenizer")
        (temporary / "tokenizer").symlink_to(Path("..") / base.name / "tokenizer")


def save_z_image(trained: ZImage, autoencoder: AutoencoderKL, base: Path, folder: Path) -> None:
    """Write ``models/mini-z-image``: fp16 weights, and a link to the weights of the autoencoder of ``base`` next to it."""
    # As Z-Image-Turbo has it.
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=False)
    pipeline = ZImagePipeline(
        scheduler=scheduler,
        vae=autoencoder,
        text_encoder=trained.text_encoder,
        tokenizer=trained.tokenizer,
        transformer=trained.transformer,
    )
    with atomic_directory(folder) as temporary:
        pipeline.to(torch.float16).save_pretrained(temporary, safe_serialization=True)
        _set_float32_dtype(temporary / "text_encoder" / "config.json")
        _link_autoencoder(temporary, base)


def save_qwen_image(trained: QwenImage, autoencoder: AutoencoderKLQwenImage, folder: Path) -> None:
    """Write ``models/mini-qwen-image``: fp16 weights."""
    # As Qwen-Image has it.
    scheduler = FlowMatchEulerDiscreteScheduler(
        shift=1.0, use_dynamic_shifting=True, base_shift=0.5, max_shift=0.9, max_image_seq_len=8192, shift_terminal=0.02
    )
    pipeline = QwenImagePipeline(
        scheduler=scheduler,
        vae=autoencoder,
        text_encoder=trained.text_encoder,
        tokenizer=trained.tokenizer,
        transformer=trained.transformer,
    )
    with atomic_directory(folder) as temporary:
        pipeline.to(torch.float16).save_pretrained(temporary, safe_serialization=True)
        _set_float32_dtype(temporary / "text_encoder" / "config.json")
        (temporary / "text_encoder" / "generation_config.json").unlink(missing_ok=True)
        # Nothing else in it says at which resolution it was trained.
        path = temporary / "vae" / "config.json"
        write_json(path, {**read_json(path), OWN_RESOLUTION: RESOLUTION})


def _link_autoencoder(folder: Path, base: Path) -> None:
    # The configuration is its own: latents of families of flow matching are shifted.
    weights = Path("vae") / "diffusion_pytorch_model.safetensors"
    (folder / weights).unlink()
    (folder / weights).symlink_to(Path("..") / ".." / base.name / weights)


def _set_float32_dtype(config: Path) -> None:
    # Without a requested dtype, diffusers loads its components in fp32 but transformers in the dtype named by the configuration,
    # and the two would not fit together.
    write_json(config, {**read_json(config), "dtype": "float32"})


def save_clip(model: CLIPModel, tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Write ``models/mini-clip``: fp16 weights, tokenizer, image processor."""
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": RESOLUTION},
        crop_size={"height": RESOLUTION, "width": RESOLUTION},
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    )
    with atomic_directory(folder) as temporary:
        model.to(torch.float16).save_pretrained(temporary, safe_serialization=True)
        tokenizers.save(tokenizer, temporary)
        processor.save_pretrained(temporary)
