"""The whole way from a seed to ``models/mini-sdxl`` and ``models/mini-clip``, resumable at every step of it."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from foundation.hashing import hash_value
from training.mini_base import assemble, autoencoder, denoiser, image_tower, pictures, tokenizer
from training.mini_base.loop import Schedule

SEED = 0


@dataclass(frozen=True)
class Plan:
    """How much is drawn and how long each part is trained."""

    pictures: int = pictures.COUNT
    autoencoder: Schedule = autoencoder.SCHEDULE
    # These two stand before the field that hides the module of its name from the lines below it.
    refinement: Schedule = denoiser.REFINEMENT
    finish: Schedule = denoiser.FINISH
    denoiser: Schedule = denoiser.SCHEDULE
    image_tower: Schedule = image_tower.SCHEDULE

    def shortened(self, share: float) -> "Plan":
        """The same plan with ``share`` of the pictures and steps, for a trial of the way and not of the weights."""

        def fewer(schedule: Schedule) -> Schedule:
            return replace(schedule, steps=max(2, round(schedule.steps * share)))

        return Plan(
            pictures=max(128, round(self.pictures * share)),
            autoencoder=fewer(self.autoencoder),
            denoiser=fewer(self.denoiser),
            refinement=fewer(self.refinement),
            finish=fewer(self.finish),
            image_tower=fewer(self.image_tower),
        )


def build(models: Path, work: Path, seed: int = SEED, plan: Plan | None = None) -> None:
    """Train every part and save both models below ``models``.

    ``work`` holds what a resumed build goes on from: each part's folder lies in that of the part it was made from and is named by
    how it was made, so that nothing of another seed or plan is ever taken up.
    """
    plan = plan or Plan()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    world = work / f"seed-{seed}-pictures-{plan.pictures}"
    drawn = pictures.draw_all(seed, world, plan.pictures)  # 1. the world
    words = tokenizer.build(seed)  # 2. its words
    packing = _below(world, "autoencoder", plan.autoencoder)
    packer = autoencoder.fit(drawn, seed, packing, device, plan.autoencoder)  # 3. pictures → latents
    latents = autoencoder.encode_all(packer, drawn, packing)
    denoising = _below(packing, "denoiser", plan.denoiser)
    trained = denoiser.fit(latents, words, seed, denoising, device, plan.denoiser)  # 4. words → latents
    refining = _below(denoising, "refinement", plan.refinement)
    trained = denoiser.refine(trained, latents, words, seed, refining, plan.refinement)
    finishing = _below(refining, "finish", plan.finish)
    trained = denoiser.finish(trained, latents, words, seed, finishing, plan.finish)
    seeing = _below(finishing, "image-tower", plan.image_tower)
    tower = image_tower.fit(drawn, trained.text_encoder_2, words, seed, seeing, device, plan.image_tower)  # 5. the extractor
    assemble.save_pipeline(assemble.pipeline(packer, trained, words), models / "mini-sdxl")  # 6. what is committed
    assemble.save_clip(tower, words, models / "mini-clip")


def _below(folder: Path, name: str, schedule: Schedule) -> Path:
    return folder / f"{name}-{hash_value(asdict(schedule))[:8]}"
