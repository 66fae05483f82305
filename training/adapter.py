"""The trainable weights: put onto the base's denoiser and read back."""

from typing import Any

import torch
from diffusers.models.attention_processor import AttnProcessor
from peft import LoraConfig, get_peft_model_state_dict, set_peft_model_state_dict
from torch import Tensor

from foundation.seeds import derive
from training.recipe import Recipe
from zthumb.families.base import Family

_PREFIX = "unet."


def attach(denoiser: Any, whole: Recipe, family: Family) -> None:
    """Put trainable fp32 LoRA weights onto the denoiser; B starts at zero, so that the adapted model starts as the base."""
    recipe = whole.adapter
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(whole.seed, "adapter"))
        denoiser.add_adapter(
            LoraConfig(
                r=recipe.rank,
                lora_alpha=recipe.alpha,
                target_modules=list(family.lora_targets[recipe.targets]),
                use_rslora=recipe.rank_stabilized,
                use_dora=recipe.magnitudes,
            )
        )
    for parameter in denoiser.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    if whole.gradient_checkpointing:
        denoiser.enable_gradient_checkpointing()
        # Checkpoints are made in training mode alone; nothing else in the denoiser depends on it.
        denoiser.train()
    if whole.compile:
        denoiser.compile_repeated_blocks()
    if denoiser.device.type == "cpu":
        # On a CPU the backward pass of fused attention takes twice as long as plain matrix products.
        denoiser.set_attn_processor(AttnProcessor())


def weights(denoiser: Any) -> dict[str, Tensor]:
    """The adapter's weights by PEFT name, on the CPU."""
    return {_PREFIX + name: weight.detach().cpu() for name, weight in get_peft_model_state_dict(denoiser).items()}


def load(denoiser: Any, found: dict[str, Tensor]) -> None:
    """Put weights read back by ``weights`` in place of the present ones."""
    set_peft_model_state_dict(denoiser, {name.removeprefix(_PREFIX): weight for name, weight in found.items()})
