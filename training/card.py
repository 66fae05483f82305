"""What an exported adapter says of itself: the header of its file and its card."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from foundation.verdict import Verdict
from training.data.dataset import Dataset
from training.recipe import Recipe
from zthumb.adapters.textual_inversion import ENDING
from zthumb.sources.catalogue import published_as

_PROGRAM = "zthumb"
DORA = (
    "this is a DoRA. ComfyUI, diffusers' own layout and this server generate it as it was trained; A1111 and InvokeAI take its "
    "norms over the inputs, kohya and diffusers' reading of kohya's layout lose them. export_lora --as lora writes what all of "
    "them generate alike"
)
"""What other programs make of a DoRA as it is written here."""

_HUB_LICENCES: Mapping[str, str] = MappingProxyType(
    {"CreativeML Open RAIL++-M": "openrail++", "MIT": "mit", "Apache-2.0": "apache-2.0"}
)


@dataclass(frozen=True)
class Shown:
    """An image of the card: the ``prompt``, and the files with the ``base``'s image and the ``adapted`` one, same noise."""

    prompt: str
    base: str
    adapted: str


def header(
    recipe: Recipe, dataset: Dataset, name: str, base_sha256: str, step: int, ended: str, prediction: str
) -> dict[str, str]:
    """The metadata of the kohya layout, as kohya (``ss_``) and the model specification (``modelspec.``) name it.

    ``step`` is the weights' own, ``ended`` says why there are none later. It holds nothing of the time or place it was written,
    so that the same adapter is the same file.
    """
    # PiSSA is exported with its start beside it.
    rank = str(recipe.adapter.rank * (2 if recipe.adapter.initialization == "pissa" else 1))
    words = Counter(word.strip(",.") for entry in dataset.of("train") for word in entry.caption.split())
    return {
        "format": "pt",
        "ss_base_model_version": "sdxl_base_v1-0",
        "ss_sd_model_name": recipe.base,
        "ss_sd_model_hash": base_sha256,
        "ss_v2": "False",
        "ss_network_module": "lycoris.kohya" if recipe.adapter.use_dora else "networks.lora",
        "ss_network_dim": rank,
        # Alpha is folded into the weights on export.
        "ss_network_alpha": rank,
        "ss_network_args": json.dumps(_network_arguments(recipe, rank)),
        "ss_network_train_unet_only": str(not recipe.adapter.text_encoders),
        "ss_output_name": name,
        "ss_steps": str(step),
        "ss_max_train_steps": str(recipe.steps),
        "ss_training_comment": ended,
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
        "modelspec.prediction_type": "v" if prediction == "v_prediction" else "epsilon",
    }


def _network_arguments(recipe: Recipe, rank: str) -> dict[str, str]:
    """What kohya's trainer would have been told besides, to make such a network."""
    told = {"algo": "lora", "dora_wd": "True"} if recipe.adapter.use_dora else {}
    return told | ({"conv_dim": rank, "conv_alpha": rank} if "convolution" in recipe.adapter.targets else {})


def text(
    recipe: Recipe,
    dataset: Dataset,
    name: str,
    ended: str,
    hashes: Mapping[str, str],
    images: Sequence[Shown],
    licence: str,
    verdict: Verdict | None = None,
    as_lora: int | None = None,
) -> str:
    """The card, with the front matter that the hub reads; ``images`` are shown on top. ``hashes``: what → its SHA-256.

    ``ended``: why there are no later weights, as in ``header``. ``verdict``: what an evaluation said of it, if there was one.
    ``as_lora``: the rank of the plain LoRA it was exported as, if it was trained as something else.
    """
    captions = "\n".join(f"- {entry.caption}" for entry in dataset.of("train")[:5])
    matter = {
        **_base_matter(recipe.base),
        "instance_prompt": dataset.trigger,
        "library_name": "diffusers",
        **licence_matter(licence),
        "tags": ["lora", "diffusers", "template:sd-lora", "stable-diffusion-xl", "text-to-image"],
        **({"widget": [{"text": shown.prompt, "output": {"url": shown.adapted}} for shown in images]} if images else {}),
        **_index(name, verdict),
    }
    return f"""---
{yaml.safe_dump(matter, sort_keys=False, allow_unicode=True).rstrip()}
---

# {name}

A LoRA for `{published_as(recipe.base)}`. Write **{dataset.trigger}** in the prompt to call it up.
{_judged(verdict)}
{_table(images)}| | |
|---|---|
| images | {len(dataset.of("train"))} at {recipe.resolution} px |
| steps | {recipe.steps} asked for: {ended} |
| batch, seed | {recipe.batch_size}, {recipe.seed} |
| adapter | rank {recipe.adapter.rank if as_lora is None else as_lora}, {_adapted(recipe)}; alpha is folded in |
| learning rate | {recipe.optimizer.lr:g} |
| licence | that of the base: {licence} |
{_rows(hashes)}

`{name}.safetensors` is in the kohya layout, `pytorch_lora_weights.safetensors` in the diffusers layout: one adapter twice.
{_embedding(recipe, dataset, name)}{_dora(recipe, as_lora)}
Captions it was trained on, for instance:

{captions}

Made by {_PROGRAM}; `manifest.json` names every input.
"""


def _judged(verdict: Verdict | None) -> str:
    """What was found of it, and the scale to use it at; nothing where it was not evaluated."""
    if verdict is None:
        return ""
    told = " The interval is of 95 % over prompts that had no part in choosing the scale." if verdict.effect else ""
    return f"\n**Evaluated: {verdict.sentence}.**{told} `verdict.json` has the figures.\n"


def _index(name: str, verdict: Verdict | None) -> dict[str, Any]:
    """The result as the hub's front matter takes it."""
    if verdict is None or verdict.effect is None:
        return {}
    effect = verdict.effect
    metric = {
        "type": f"{verdict.metric}-gain",
        "name": f"gain in {verdict.metric} to held-out images at scale {verdict.lora_scale:g}, by {verdict.extractor}",
        "value": effect.mean,
        "args": {"low": effect.low, "high": effect.high, "prompts": effect.prompts, "protocol": verdict.protocol_version},
    }
    data = {"name": "held-out images of the concept", "type": "held-out"}
    return {
        "model-index": [{"name": name, "results": [{"task": {"type": "text-to-image"}, "dataset": data, "metrics": [metric]}]}]
    }


def _base_matter(base: str) -> dict[str, str]:
    """The base as the hub links it; of one that lies on this disk alone there is nothing to link to."""
    published = published_as(base)
    is_repository = not Path(published).exists() and published.count("/") == 1 and not published.startswith((".", "/", "models/"))
    return {"base_model": published} if is_repository else {}


def _dora(recipe: Recipe, as_lora: int | None) -> str:
    """What is to be known of a DoRA elsewhere; nothing where it is none."""
    if not recipe.adapter.use_dora:
        return ""
    if as_lora is not None:
        return f"\nIt was trained as a DoRA of rank {recipe.adapter.rank}; this is the nearest plain LoRA of rank {as_lora}.\n"
    return f"\n{DORA[0].upper()}{DORA[1:]}.\n"


def _embedding(recipe: Recipe, dataset: Dataset, name: str) -> str:
    """How a learned word is used elsewhere; nothing where there is none."""
    if not recipe.adapter.tokens:
        return ""
    return f"""
**{dataset.trigger}** is a word of its own: `{name}{ENDING}` holds what the text encoders read in its place. This server takes it
from beside the adapter. ComfyUI and A1111 take it as an embedding: put it into their folder and write its file's name in the
prompt. diffusers takes its tensors by `load_textual_inversion`, `clip_l` for the first text encoder and `clip_g` for the second.
"""


def _rows(hashes: Mapping[str, str]) -> str:
    return "\n".join(f"| SHA-256 of {what} | `{digest}` |" for what, digest in hashes.items())


def licence_matter(licence: str) -> dict[str, str]:
    """The licence as the hub's front matter takes it: its own name for those it knows."""
    known = _HUB_LICENCES.get(licence)
    return {"license": known} if known else {"license": "other", "license_name": licence}


def _adapted(recipe: Recipe) -> str:
    learned = f", the word learned as {recipe.adapter.tokens} tokens" if recipe.adapter.tokens else ""
    return recipe.adapter.targets + (", text encoders too" if recipe.adapter.text_encoders else "") + learned


def _table(images: Sequence[Shown]) -> str:
    """Base and adapter side by side; nothing without images."""
    if not images:
        return ""
    rows = [f"| ![]({shown.base}) | ![]({shown.adapted}) | {shown.prompt} |" for shown in images]
    return "\n".join(["| the base | with the adapter | the same prompt and noise |", "|---|---|---|", *rows]) + "\n\n"
