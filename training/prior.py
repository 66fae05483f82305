"""Prior preservation: on pictures the base paints itself, the adapted model must go on predicting what the base predicts."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from foundation.files import whole_file
from foundation.hashing import hash_value
from foundation.seeds import derive
from training.examples import Examples
from training.recipe import PriorRecipe
from zthumb.families.base import Conditioning, Family


def paint(
    recipe: PriorRecipe, resolution: int, seed: int, base_sha256: str, family: Family, pipeline: Any, folder: Path
) -> Examples:
    """The prior's pictures as latents, painted once and then read from ``folder``."""
    prompts = [recipe.prompts[turn % len(recipe.prompts)] for turn in range(recipe.images)]
    key = hash_value([recipe.model_dump(mode="json"), resolution, seed, base_sha256])
    path = folder / f"prior-{key[:16]}.safetensors"
    if not path.exists():
        latents = _painted(prompts, recipe, resolution, seed, pipeline)
        with whole_file(path) as temporary:
            save_file({"latents": latents}, temporary)
    latents = load_file(path, device=str(pipeline.device))["latents"]
    states, pooled = family.encode_prompts(pipeline, prompts)
    time_ids = torch.tensor([[resolution, resolution, 0, 0, resolution, resolution]] * len(prompts), device=pooled.device)
    return Examples(latents, Conditioning(states, pooled, time_ids))


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
