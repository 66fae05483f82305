"""The whole way from a seed to the models that are committed, resumable at every step of it."""

import platform
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from transformers import CLIPTextModelWithProjection, CLIPTokenizer

from foundation.files import read_json, write_json
from foundation.hashing import hash_value
from foundation.manifest import package_versions
from foundation.seeds import derive
from miniature import assemble, autoencoder, denoiser, distillation, image_tower, images, sd15, tokenizer
from miniature.architectures.sdxl import SDXL
from miniature.loop import Schedule
from zthumb.sources.local import hash_base

SEED = 0
BUILT = "built.json"
"""In the folder a build works in: what each model was made with and on, by its name."""


@dataclass(frozen=True)
class Plan:
    """How much is drawn and how long each part is trained."""

    images: int = images.COUNT
    autoencoder: Schedule = autoencoder.SCHEDULE
    # It stands before the field that hides the module of its name from the lines below it.
    finish: Schedule = denoiser.FINISH
    denoiser: Schedule = denoiser.SCHEDULE
    image_tower: Schedule = image_tower.SCHEDULE
    distillation: Schedule = distillation.SCHEDULE
    sd15: Schedule = sd15.SCHEDULE

    def shortened(self, share: float) -> "Plan":
        """The same plan with ``share`` of the images and steps, for a trial of the way and not of the weights."""

        def fewer(schedule: Schedule) -> Schedule:
            return replace(schedule, steps=max(2, round(schedule.steps * share)))

        return Plan(
            images=max(128, round(self.images * share)),
            autoencoder=fewer(self.autoencoder),
            denoiser=fewer(self.denoiser),
            finish=fewer(self.finish),
            image_tower=fewer(self.image_tower),
            distillation=fewer(self.distillation),
            sd15=fewer(self.sd15),
        )


def build(models: Path, work: Path, seed: int = SEED, plan: Plan | None = None) -> None:
    """Train every part and save ``mini-sdxl``, ``mini-clip``, ``mini-sdxl-turbo`` and ``mini-sd15`` below ``models``.

    ``work`` holds what a resumed build goes on from: each part's folder lies in that of the part it was made from and is named by
    how it was made, so that nothing of another seed or plan is ever taken up.
    """
    plan = plan or Plan()
    device = _device()
    world, drawn = _drawn(work, seed, plan.images)  # 1. the world
    words = tokenizer.build(seed)  # 2. its words
    packing = _below(world, "autoencoder", plan.autoencoder)
    packer = autoencoder.fit(drawn, seed, packing, device, plan.autoencoder)  # 3. images → latents
    latents = autoencoder.encode_all(packer, drawn, packing)
    denoising = _below(packing, "denoiser", plan.denoiser)
    torch.manual_seed(derive(seed, "denoiser", "weights"))
    model = SDXL(words).to(device)
    trained = denoiser.fit("denoiser", model, latents, words, seed, denoising, plan.denoiser)  # 4. words → latents
    finishing = _below(denoising, "finish", plan.finish)
    trained = denoiser.finish("finish", trained, latents, words, seed, finishing, plan.finish)
    assemble.save_pipeline(assemble.pipeline(packer, trained, words), models / "mini-sdxl")  # 5. what is committed
    _record(work, "mini-sdxl", seed, device)
    fit_extractor(models, work, seed, plan)  # 6. what sees its images
    distil(models, work, seed, plan)  # 7. the same in four steps
    fit_sd15(models, work, seed, plan)  # 8. the same world in another family


def fit_extractor(models: Path, work: Path, seed: int = SEED, plan: Plan | None = None) -> None:
    """Fit an image tower to the second text encoder of ``models/mini-sdxl`` and save ``models/mini-clip``."""
    plan, base = plan or Plan(), models / "mini-sdxl"
    world, drawn = _drawn(work, seed, min(plan.images, image_tower.IMAGES))
    folder = _below(world / f"base-{hash_base(base)[:8]}", "image-tower", plan.image_tower)
    words = tokenizer.build(seed)
    text = CLIPTextModelWithProjection.from_pretrained(base / "text_encoder_2", dtype=torch.float32, local_files_only=True)
    device = _device()
    tower = image_tower.fit(drawn, text, words, seed, folder, device, plan.image_tower)
    assemble.save_clip(tower, words, models / "mini-clip")
    _record(work, "mini-clip", seed, device)


def distil(models: Path, work: Path, seed: int = SEED, plan: Plan | None = None) -> None:
    """Teach the UNet of ``models/mini-sdxl`` to generate in a few steps and save ``models/mini-sdxl-turbo``."""
    plan, base = plan or Plan(), models / "mini-sdxl"
    world, drawn = _drawn(work, seed, min(plan.images, distillation.IMAGES))
    folder = _below(world / f"base-{hash_base(base)[:8]}", "distillation", plan.distillation)
    packer = AutoencoderKL.from_pretrained(base / "vae", dtype=torch.float32, local_files_only=True)
    latents = autoencoder.encode_all(packer, drawn, folder.parent)
    words = CLIPTokenizer.from_pretrained(base / "tokenizer", local_files_only=True)
    device = _device()
    student = distillation.distil(base, latents, words, seed, folder, device, plan.distillation)
    assemble.save_few_step(student, base, models / "mini-sdxl-turbo")
    _record(work, "mini-sdxl-turbo", seed, device)


def fit_sd15(models: Path, work: Path, seed: int = SEED, plan: Plan | None = None) -> None:
    """Train Stable Diffusion 1.5 in small on the latents of ``models/mini-sdxl`` and save ``models/mini-sd15``."""
    plan, base = plan or Plan(), models / "mini-sdxl"
    world, drawn = _drawn(work, seed, min(plan.images, sd15.IMAGES))
    folder = _below(world / f"base-{hash_base(base)[:8]}", "sd15", plan.sd15)
    packer = AutoencoderKL.from_pretrained(base / "vae", dtype=torch.float32, local_files_only=True)
    latents = autoencoder.encode_all(packer, drawn, folder.parent)
    words = CLIPTokenizer.from_pretrained(base / "tokenizer", local_files_only=True)
    device = _device()
    trained = sd15.fit(base, latents, words, seed, folder, device, plan.sd15)
    assemble.save_sd15(trained, packer, words, base, models / "mini-sd15")
    _record(work, "mini-sd15", seed, device)


def _drawn(work: Path, seed: int, count: int) -> tuple[Path, np.ndarray]:
    """The first ``count`` images of ``seed``, and the folder for what is made of them."""
    world = work / f"seed-{seed}-images-{count}"
    return world, images.draw_all(seed, world, count)


def _record(work: Path, name: str, seed: int, device: torch.device) -> None:
    path = work / BUILT
    made = {"seed": seed, "device": _name(device), "packages": package_versions()}
    write_json(path, {**(read_json(path) if path.exists() else {}), name: made})


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()


def _below(folder: Path, name: str, schedule: Schedule) -> Path:
    return folder / f"{name}-{hash_value(asdict(schedule))[:8]}"
