"""Prior preservation: on images without the concept, the adapted model must predict what the base predicts."""

from functools import reduce
from pathlib import Path

import torch
from tqdm import tqdm

from foundation.errors import BadInput
from foundation.seeds import derive
from training.data.dataset import Dataset
from training.encoding.cache import Tensors
from training.encoding.encoded_examples import Encoders, Examples, joined
from training.encoding.placement import on_device
from training.recipe import PriorRecipe, Recipe
from zthumb.families.base import ImageSize


def encode_own(recipe: Recipe, dataset: Dataset, folder: Path, encoders: Encoders) -> Examples | None:
    """Return the regularization images of the data set in ``folder``, encoded; None without any or if the prior has no weight."""
    own = dataset.of("regularization")
    return encoders.encode(own, folder) if own and recipe.prior.weight > 0 else None


def gather(recipe: Recipe, own: Examples | None, base_sha256: str, encoders: Encoders) -> Examples | None:
    """Return the prior's images: those that the base generates for the recipe's prompts, then the data set's ``own``.

    None if the prior has no weight. Raises ``BadInput`` if it has one and there is no image.
    """
    if recipe.prior.weight == 0:
        return None
    gathered = []
    if recipe.prior.prompts:
        gathered.append(_generate(recipe, base_sha256, encoders))
    if own is not None:
        gathered.append(own)
    if not gathered:
        raise BadInput(
            "prior.weight: there is nothing to preserve. Name prior.prompts, put images in the data set's regularization "
            "folder, or set prior.weight=0."
        )
    return reduce(joined, gathered)


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
        **encoders.environment,
    }

    def generate() -> Tensors:
        with on_device(encoders.pipeline, encoders.family.components, encoders.device):
            return {"latents": _sample(prompts, recipe, resolution, seed, encoders)}

    latents = tuple(encoders.cache.get("prior", depends_on, generate)["latents"].to(encoders.device))
    sizes = [ImageSize.whole(resolution, resolution)] * len(prompts)
    conditioning = encoders.complete(encoders.captions(prompts), sizes)
    return Examples(latents, conditioning, encoders.unconditional(conditioning), (None,) * len(latents), tuple(prompts))


def _sample(prompts: list[str], recipe: PriorRecipe, resolution: int, seed: int, encoders: Encoders) -> torch.Tensor:
    latents = []
    for start in tqdm(range(0, len(prompts), recipe.batch_size), desc="prior", unit="batch"):
        chunk = prompts[start : start + recipe.batch_size]
        generators = [torch.Generator().manual_seed(derive(seed, "prior", start + index)) for index in range(len(chunk))]
        latents.append(
            encoders.family.sample(
                encoders.pipeline,
                chunk,
                ImageSize.whole(resolution, resolution),
                recipe.steps,
                recipe.guidance_scale,
                generators,
            ).float()
        )
    return torch.cat(latents).contiguous()
