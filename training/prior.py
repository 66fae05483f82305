"""Prior preservation: on pictures the base paints itself, the adapted model must go on predicting what the base predicts."""

from typing import Any

import torch
from tqdm import tqdm

from foundation.seeds import derive
from training.examples import Encoders, Examples
from training.recipe import PriorRecipe
from zthumb.families.base import Conditioning


def paint(recipe: PriorRecipe, resolution: int, seed: int, base_sha256: str, encoders: Encoders) -> Examples:
    """The prior's pictures as latents, painted once for a base, a recipe and a seed."""
    prompts = [recipe.prompts[turn % len(recipe.prompts)] for turn in range(recipe.images)]
    pipeline = encoders.pipeline
    depends_on = {
        "prior": recipe.model_dump(mode="json"),
        "resolution": resolution,
        "seed": seed,
        "base": base_sha256,
        "device": pipeline.device.type,
        "precision": str(pipeline.dtype),
        "torch": torch.__version__,
    }
    painted = encoders.cache.get("prior", depends_on, lambda: {"latents": _painted(prompts, recipe, resolution, seed, pipeline)})
    states, pooled = encoders.captions(prompts)
    time_ids = torch.tensor([[resolution, resolution, 0, 0, resolution, resolution]] * len(prompts), device=pooled.device)
    return Examples(painted["latents"].to(pipeline.device), Conditioning(states, pooled, time_ids))


def _painted(prompts: list[str], recipe: PriorRecipe, resolution: int, seed: int, pipeline: Any) -> torch.Tensor:
    latents = []
    bar = tqdm(range(0, len(prompts), recipe.batch), desc="prior", unit="batch")
    for start in bar:
        chunk = prompts[start : start + recipe.batch]
        generators = [torch.Generator().manual_seed(derive(seed, "prior", start + place)) for place in range(len(chunk))]
        made = pipeline(
            chunk,
            width=resolution,
            height=resolution,
            num_inference_steps=recipe.steps,
            guidance_scale=recipe.guidance_scale,
            generator=generators,
            output_type="latent",
        )
        latents.append(made.images.float())
    return torch.cat(latents).contiguous()
