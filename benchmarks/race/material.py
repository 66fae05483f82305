"""What every trainer of the race is given: the same encoded images, the same modules to adapt, the same rank and optimizer."""

from pathlib import Path

import torch
from safetensors.torch import save_file

from foundation.files import write_json
from training.encoding.encoded_examples import Examples
from training.model.adapted_model import AdaptedModel
from training.recipe import Recipe

EXAMPLES, PLAN = "examples.safetensors", "plan.json"


def write(folder: Path, recipe: Recipe, base: Path, examples: Examples, adapted: AdaptedModel) -> None:
    """Write to ``folder`` what a peer needs to make the steps of ``recipe``: embeddings as the family names them."""
    names = [name for name in examples.conditioning.tensors if name != "token_ids"]
    tensors = {name: examples.conditioning.stack(name).contiguous() for name in names}
    save_file({"latents": torch.stack(examples.latents), **tensors}, folder / EXAMPLES)
    denoiser = adapted.components[adapted.family.denoiser_component]
    modules = sorted(name for name, module in denoiser.named_modules() if hasattr(module, "lora_A"))
    plan = {
        "base": str(base.resolve()),
        "modules": modules,
        "rank": recipe.adapter.rank,
        "alpha": recipe.adapter.alpha,
        "lr": recipe.optimizer.lr,
        "weight_decay": recipe.optimizer.weight_decay,
        "max_grad_norm": recipe.optimizer.max_grad_norm,
        "batch_size": recipe.batch_size,
    }
    write_json(folder / PLAN, plan)
