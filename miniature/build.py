"""Build all committed models from a seed, resumable at every stage."""

import platform
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from transformers import CLIPTextModelWithProjection, CLIPTokenizer

from foundation.device import choose_device
from foundation.files import read_json, write_json
from foundation.hashing import hash_value
from foundation.manifest import package_versions
from foundation.seeds import derive
from miniature import (
    assemble,
    autoencoder,
    denoiser,
    distillation,
    flux,
    guidance_distillation,
    image_tower,
    kept_stage,
    plates,
    qwen_autoencoder,
    qwen_image,
    sd15,
    tokenizer,
    training_images,
    words,
    z_image,
)
from miniature.architectures.qwen_image import QwenImage
from miniature.architectures.sdxl import SDXL
from miniature.loop import Schedule
from zthumb.sources.local import hash_base

SEED = 0
BUILD_RECORDS = "built.json"
"""In the work folder of a build, by model name: the seed, device and package versions each model was built with."""


@dataclass(frozen=True)
class Plan:
    """The number of training images and the schedule of each model."""

    images: int = training_images.COUNT
    autoencoder: Schedule = autoencoder.SCHEDULE
    # Before the field ``denoiser``, which hides the module of that name from the lines below it.
    finish: Schedule = denoiser.FINISH_SCHEDULE
    denoiser: Schedule = denoiser.SCHEDULE
    image_tower: Schedule = image_tower.SCHEDULE
    distillation: Schedule = distillation.SCHEDULE
    sd15: Schedule = sd15.SCHEDULE
    flux_words: Schedule = words.SCHEDULE
    flux_finish: Schedule = flux.FINISH_SCHEDULE
    flux: Schedule = flux.SCHEDULE
    flux_guidance: Schedule = guidance_distillation.SCHEDULE
    z_image: Schedule = z_image.SCHEDULE
    qwen_autoencoder: Schedule = qwen_autoencoder.SCHEDULE
    qwen_words: Schedule = words.SCHEDULE
    qwen_finish: Schedule = qwen_image.FINISH_SCHEDULE
    qwen_image: Schedule = qwen_image.SCHEDULE

    def scaled(self, factor: float) -> "Plan":
        """Return the plan with images and steps multiplied by ``factor``, to try the build and not the weights."""
        steps = {
            name: replace(schedule, steps=max(2, round(schedule.steps * factor)))
            for name, schedule in vars(self).items()
            if isinstance(schedule, Schedule)
        }
        return replace(self, images=max(128, round(self.images * factor)), **steps)


def build(models: Path, work: Path, seed: int = SEED, plan: Plan | None = None) -> None:
    """Train every model and save ``mini-sdxl``, ``mini-clip``, ``mini-sdxl-turbo``, ``mini-sd15`` and
    ``mini-z-image`` below ``models``.

    ``work`` holds the intermediate results from which a build resumes. The folder of each stage is inside the folder of the stage
    that it builds on, and its name hashes its settings, so that nothing of another seed or plan is ever reused.
    """
    plan = plan or Plan()
    device = choose_device()
    images_folder, drawn = _draw_images(work, seed, plan.images)  # 1. the training images
    clip_tokenizer = tokenizer.build(seed)  # 2. the tokenizer
    vae_folder = _stage_folder(images_folder, "autoencoder", plan.autoencoder)
    vae = autoencoder.fit(drawn, seed, vae_folder, device, plan.autoencoder)  # 3. images → latents
    latents = autoencoder.encode_all(vae, drawn, vae_folder)
    denoiser_folder = _stage_folder(vae_folder, "denoiser", plan.denoiser)
    torch.manual_seed(derive(seed, "denoiser", "weights"))
    model = SDXL(clip_tokenizer).to(device)
    trained = denoiser.fit("denoiser", model, latents, seed, denoiser_folder, plan.denoiser)  # 4. captions → latents
    finish_folder = _stage_folder(denoiser_folder, "finish", plan.finish)
    trained = denoiser.finish("finish", trained, latents, seed, finish_folder, plan.finish)
    assemble.save_pipeline(assemble.build_pipeline(vae, trained, clip_tokenizer), models / "mini-sdxl")  # 5. the base model
    _record(work, "mini-sdxl", seed, device)
    fit_extractor(models, work, seed, plan)  # 6. the feature extractor for its images
    distil(models, work, seed, plan)  # 7. the few-step model
    fit_sd15(models, work, seed, plan)  # 8. the same world in other families
    fit_z_image(models, work, seed, plan)


def fit_extractor(models: Path, work: Path, seed: int = SEED, plan: Plan | None = None) -> None:
    """Fit an image tower to the second text encoder of ``models/mini-sdxl`` and save ``models/mini-clip``."""
    plan, base = plan or Plan(), models / "mini-sdxl"
    images_folder, drawn = _draw_images(work, seed, min(plan.images, image_tower.IMAGES))
    folder = _stage_folder(images_folder / f"base-{hash_base(base)[:8]}", "image-tower", plan.image_tower)
    clip_tokenizer = CLIPTokenizer.from_pretrained(base / "tokenizer", local_files_only=True)
    text = CLIPTextModelWithProjection.from_pretrained(base / "text_encoder_2", dtype=torch.float32, local_files_only=True)
    device = choose_device()
    clip = image_tower.fit(drawn, text, clip_tokenizer, seed, folder, device, plan.image_tower)
    assemble.save_clip(clip, clip_tokenizer, models / "mini-clip")
    _record(work, "mini-clip", seed, device)


def distil(models: Path, work: Path, seed: int = SEED, plan: Plan | None = None) -> None:
    """Distil the UNet of ``models/mini-sdxl`` into one that needs few steps and save ``models/mini-sdxl-turbo``."""
    plan, base, device = plan or Plan(), models / "mini-sdxl", choose_device()
    encoded = _encode_images(base, work, seed, min(plan.images, distillation.IMAGES))
    folder = _stage_folder(encoded.folder, "distillation", plan.distillation)
    student = distillation.distil(base, encoded.latents, encoded.tokenizer, seed, folder, device, plan.distillation)
    assemble.save_few_step(student, base, models / "mini-sdxl-turbo")
    _record(work, "mini-sdxl-turbo", seed, device)


def fit_sd15(models: Path, work: Path, seed: int = SEED, plan: Plan | None = None) -> None:
    """Train Stable Diffusion 1.5 in small on the latents of ``models/mini-sdxl`` and save ``models/mini-sd15``."""
    plan, base, device = plan or Plan(), models / "mini-sdxl", choose_device()
    encoded = _encode_images(base, work, seed, min(plan.images, sd15.IMAGES))
    folder = _stage_folder(encoded.folder, "sd15", plan.sd15)
    model = sd15.untrained(base, encoded.tokenizer, seed).to(device)
    trained = denoiser.fit("sd15", model, encoded.latents, seed, folder, plan.sd15)
    assemble.save_sd15(trained, encoded.vae, encoded.tokenizer, base, models / "mini-sd15")
    _record(work, "mini-sd15", seed, device)


def fit_flux(models: Path, work: Path, seed: int = SEED, plan: Plan | None = None) -> None:
    """Train FLUX.1 in small on the latents of ``models/mini-sdxl`` and save ``models/mini-flux``."""
    plan, base, device = plan or Plan(), models / "mini-sdxl", choose_device()
    encoded = _encode_images(base, work, seed, min(plan.images, flux.IMAGES))
    latents = autoencoder.standardize(encoded.vae, encoded.latents)
    words_folder = _stage_folder(encoded.folder, "flux-words", plan.flux_words)
    folder = _stage_folder(words_folder, "flux", plan.flux)
    untrained = flux.untrained(base, encoded.tokenizer, seed).to(device)
    is_usual = (seed, plan.flux_words, plan.flux) == (SEED, words.SCHEDULE, flux.SCHEDULE)
    trained = kept_stage.restore("flux", untrained) if is_usual else None
    if trained is None:
        model = words.teach("flux", untrained, denoiser.WORLD, len(latents), seed, words_folder, plan.flux_words)
        trained = denoiser.fit("flux", model, latents, seed, folder, plan.flux)
    finish_folder = _stage_folder(folder, "finish", plan.flux_finish)
    trained = denoiser.finish("flux finish", trained, latents, seed, finish_folder, plan.flux_finish)
    guidance_folder = _stage_folder(finish_folder, "guidance", plan.flux_guidance)
    trained.transformer = guidance_distillation.distil(trained, latents, seed, guidance_folder, device, plan.flux_guidance)
    assemble.save_flux(trained, encoded.vae, base, models / "mini-flux")
    _record(work, "mini-flux", seed, device)


def fit_z_image(models: Path, work: Path, seed: int = SEED, plan: Plan | None = None) -> None:
    """Train Z-Image in small on the latents of ``models/mini-sdxl`` and save ``models/mini-z-image``."""
    plan, base, device = plan or Plan(), models / "mini-sdxl", choose_device()
    encoded = _encode_images(base, work, seed, min(plan.images, z_image.IMAGES))
    folder = _stage_folder(encoded.folder, "z-image", plan.z_image)
    latents = autoencoder.standardize(encoded.vae, encoded.latents)
    trained = denoiser.fit("z_image", z_image.untrained(seed).to(device), latents, seed, folder, plan.z_image)
    assemble.save_z_image(trained, encoded.vae, base, models / "mini-z-image")
    _record(work, "mini-z-image", seed, device)


def fit_qwen_image(models: Path, work: Path, seed: int = SEED, plan: Plan | None = None) -> None:
    """Train Qwen-Image in small and its autoencoder on latents of ``models/mini-sdxl``; save ``models/mini-qwen-image``."""
    plan, base, device = plan or Plan(), models / "mini-sdxl", choose_device()
    images = min(plan.images, qwen_image.IMAGES)
    encoded = _encode_images(base, work, seed, images)  # 1. the world's images → latents
    signs = training_images.draw_all(seed, encoded.folder, min(images // 4, plates.COUNT), "plates", plates.draw_example)
    signs_folder = encoded.folder / f"plates-{len(signs)}"
    signs_latents = autoencoder.encode_all(encoded.vae, signs, signs_folder)  # 2. plates → latents
    latents = autoencoder.standardize(encoded.vae, torch.cat([encoded.latents, signs_latents]))
    seen = torch.cat([latents, *[latents[images:]] * (qwen_image.PASSES_OF_SIGNS - 1)])
    # 3. captions → latents, in two cycles
    trained, folder = _first_cycle_of_qwen_image(seen, images, len(signs), signs_folder, seed, device, plan)
    material = qwen_image.material(images, len(signs))
    finish_folder = _stage_folder(folder, "finish", plan.qwen_finish)
    trained = denoiser.finish("qwen_image finish", trained, seen, seed, finish_folder, plan.qwen_finish, material)
    vae_folder = _stage_folder(signs_folder, "autoencoder", plan.qwen_autoencoder)
    drawn = np.concatenate([encoded.images, signs])
    vae = qwen_autoencoder.fit(drawn, latents, seed, vae_folder, device, plan.qwen_autoencoder)  # 4. its own autoencoder
    assemble.save_qwen_image(trained, vae, models / "mini-qwen-image")
    _record(work, "mini-qwen-image", seed, device)


def _first_cycle_of_qwen_image(
    seen: Tensor, images: int, signs: int, images_folder: Path, seed: int, device: torch.device, plan: Plan
) -> tuple[QwenImage, Path]:
    """Teach Qwen-Image the words and train it on the latents ``seen``; return it with the folder of this stage."""
    material, words_folder = qwen_image.material(images, signs), _stage_folder(images_folder, "words", plan.qwen_words)
    folder = _stage_folder(words_folder, "qwen-image", plan.qwen_image)
    untrained = qwen_image.untrained(seed).to(device)
    if (seed, plan.qwen_words, plan.qwen_image) == (SEED, words.SCHEDULE, qwen_image.SCHEDULE):
        kept = kept_stage.restore("qwen_image", untrained)
        if kept is not None:
            return kept, folder
    model = words.teach("qwen_image", untrained, material, len(seen), seed, words_folder, plan.qwen_words)
    return denoiser.fit("qwen_image", model, seen, seed, folder, plan.qwen_image, material), folder


class _Encoded(NamedTuple):
    """Training images and their latents (N, 4, 16, 16) by a base's autoencoder, in ``folder``, with the base's tokenizer."""

    folder: Path
    images: np.ndarray
    latents: torch.Tensor
    vae: AutoencoderKL
    tokenizer: CLIPTokenizer


def _encode_images(base: Path, work: Path, seed: int, count: int) -> _Encoded:
    images_folder, drawn = _draw_images(work, seed, count)
    folder = images_folder / f"base-{hash_base(base)[:8]}"
    vae = AutoencoderKL.from_pretrained(base / "vae", dtype=torch.float32, local_files_only=True)
    latents = autoencoder.encode_all(vae, drawn, folder)
    return _Encoded(folder, drawn, latents, vae, CLIPTokenizer.from_pretrained(base / "tokenizer", local_files_only=True))


def _draw_images(work: Path, seed: int, count: int) -> tuple[Path, np.ndarray]:
    """Return the folder for everything built from the first ``count`` images of ``seed``, and those images."""
    folder = work / f"seed-{seed}-images-{count}"
    return folder, training_images.draw_all(seed, folder, count)


def _record(work: Path, name: str, seed: int, device: torch.device) -> None:
    path = work / BUILD_RECORDS
    record = {"seed": seed, "device": _device_name(device), "packages": package_versions()}
    write_json(path, {**(read_json(path) if path.exists() else {}), name: record})


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()


def _stage_folder(parent: Path, stage: str, schedule: Schedule) -> Path:
    return parent / f"{stage}-{hash_value(asdict(schedule))[:8]}"
