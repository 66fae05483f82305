"""What an exported adapter says of itself: the header of its file and its card."""

import json
from collections import Counter

import yaml

from training.data.dataset import Dataset
from training.recipe import Recipe

_PROGRAM = "zthumb"


def header(recipe: Recipe, dataset: Dataset, name: str, base_sha256: str, steps: int) -> dict[str, str]:
    """The metadata of the kohya layout, as kohya (``ss_``) and the model specification (``modelspec.``) name it.

    It holds nothing of the time or place it was written, so that the same adapter is the same file.
    """
    rank = str(recipe.adapter.rank)
    words = Counter(word.strip(",.") for entry in dataset.of("train") for word in entry.caption.split())
    return {
        "format": "pt",
        "ss_base_model_version": "sdxl_base_v1-0",
        "ss_sd_model_name": recipe.base,
        "ss_sd_model_hash": base_sha256,
        "ss_v2": "False",
        "ss_network_module": "networks.lora",
        "ss_network_dim": rank,
        # Alpha is folded into the weights on export.
        "ss_network_alpha": rank,
        "ss_network_args": "{}",
        "ss_output_name": name,
        "ss_steps": str(steps),
        "ss_seed": str(recipe.seed),
        "ss_learning_rate": str(recipe.optimizer.lr),
        "ss_num_train_images": str(len(dataset.of("train"))),
        "ss_resolution": f"({recipe.resolution}, {recipe.resolution})",
        "ss_tag_frequency": json.dumps({dataset.trigger: dict(sorted(words.items()))}),
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": "stable-diffusion-xl-v1-base/lora",
        "modelspec.implementation": "diffusers",
        "modelspec.title": name,
        "modelspec.resolution": f"{recipe.resolution}x{recipe.resolution}",
        "modelspec.trigger_phrase": dataset.trigger,
        "modelspec.prediction_type": "epsilon",
    }


def text(recipe: Recipe, dataset: Dataset, name: str, steps: int, sha256: str) -> str:
    """The card, with the front matter that the hub reads."""
    captions = "\n".join(f"- {entry.caption}" for entry in dataset.of("train")[:5])
    matter = {
        "base_model": recipe.base,
        "instance_prompt": dataset.trigger,
        "library_name": "diffusers",
        "tags": ["lora", "stable-diffusion-xl", "text-to-image"],
    }
    return f"""---
{yaml.safe_dump(matter, sort_keys=False).rstrip()}
---

# {name}

A LoRA for `{recipe.base}`. Write **{dataset.trigger}** in the prompt to call it up.

| | |
|---|---|
| pictures | {len(dataset.of("train"))} at {recipe.resolution} px |
| steps | {steps}, batch {recipe.batch}, seed {recipe.seed} |
| adapter | rank {recipe.adapter.rank}, {recipe.adapter.targets}; alpha folded in, so alpha = rank |
| learning rate | {recipe.optimizer.lr:g} |
| SHA-256 of `{name}.safetensors` | `{sha256}` |

`{name}.safetensors` is in the kohya layout, `pytorch_lora_weights.safetensors` in the diffusers layout: one adapter twice.

Captions it was trained on, for instance:

{captions}

Made by {_PROGRAM}; `manifest.json` names every input.
"""
