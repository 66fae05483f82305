"""Prior preservation: on images without the concept, the adapted model must go on predicting what the base predicts."""

from functools import reduce
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from foundation.errors import BadInput
from foundation.seeds import derive
from training.data.dataset import Dataset
from training.encoding.cache import Tensors
from training.encoding.examples import Encoders, Examples, joined
from training.encoding.placement import on_device
from training.recipe import PriorRecipe, Recipe
from zthumb.families.base import Conditioning


def gather(recipe: Recipe, dataset: Dataset, folder: Path, base_sha256: str, encoders: Encoders) -> Examples | None:
    """The prior's images: those the base generates for the recipe's prompts, then the data set's own; None without a weight.

    Raises ``BadInput`` when there is a weight and no image.
    """
    if recipe.prior.weight == 0:
        return None
    found = []
    if recipe.prior.prompts:
        found.append(_generate(recipe, base_sha256, encoders))
    if own := dataset.of("regularization"):
        found.append(encoders.encode(own, folder))
    if not found:
        raise BadInput(
            "prior.weight: there is nothing to preserve. Name prior.prompts, put images in the data set's regularization "
            "folder, or set prior.weight=0."
        )
    return reduce(joined, found)


def _generate(whole: Recipe, base_sha256: str, encoders: Encoders) -> Examples:
    """The prompts' images as latents, generated once for a base, a recipe and a seed."""
    recipe, resolution, seed = whole.prior, whole.resolution, whole.seed
    prompts = [recipe.prompts[turn % len(recipe.prompts)] for turn in range(recipe.images)]
    depends_on = {
        "prior": recipe.model_dump(mode="json"),
        "resolution": resolution,
        "seed": seed,
        "prediction": whole.objective.prediction,
        "quantize": whole.quantize,
        "base": base_sha256,
        **encoders.where,
    }

    def make() -> Tensors:
        with on_device(encoders.pipeline, encoders.family.parts, encoders.device):
            return {"latents": _generated(prompts, recipe, resolution, seed, encoders.pipeline)}

    generated = encoders.cache.get("prior", depends_on, make)
    states, pooled, tokens = encoders.captions(prompts)
    time_ids = torch.tensor([[resolution, resolution, 0, 0, resolution, resolution]] * len(prompts), device=pooled.device)
    latents = tuple(generated["latents"].to(encoders.device))
    return Examples(latents, Conditioning(states, pooled, time_ids, tokens), (None,) * len(latents), tuple(prompts))


def _generated(prompts: list[str], recipe: PriorRecipe, resolution: int, seed: int, pipeline: Any) -> torch.Tensor:
    latents = []
    bar = tqdm(range(0, len(prompts), recipe.batch_size), desc="prior", unit="batch")
    for start in bar:
        chunk = prompts[start : start + recipe.batch_size]
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
