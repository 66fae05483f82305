"""The header metadata and the model card of an exported adapter."""

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
from zthumb.families.base import LoraMetadata
from zthumb.sources.catalogue import published_as

_PROGRAM = "zthumb"
DORA_NOTE = (
    "this is a DoRA. ComfyUI, diffusers (in its own layout) and this server apply it as it was trained; A1111 and InvokeAI take "
    "its norms over the inputs, kohya and diffusers (in kohya's layout) lose them. export_lora --as lora writes a file that all "
    "of them apply in the same way"
)
"""How other programs apply a DoRA that is exported as it is."""

_HUB_LICENCES: Mapping[str, str] = MappingProxyType(
    {
        "CreativeML Open RAIL-M": "creativeml-openrail-m",
        "CreativeML Open RAIL++-M": "openrail++",
        "OpenRAIL": "openrail",
        "MIT": "mit",
        "Apache-2.0": "apache-2.0",
    }
)


@dataclass(frozen=True)
class PreviewPair:
    """A row of images in the card: the ``prompt``, and the files of the ``base``'s and the ``adapted`` image, same noise."""

    prompt: str
    base: str
    adapted: str


def header_metadata(
    recipe: Recipe,
    dataset: Dataset,
    name: str,
    base: LoraMetadata,
    base_sha256: str,
    step: int,
    stop_reason: str,
    prediction: str,
) -> dict[str, str]:
    """Return the metadata of the kohya layout, with the keys of kohya (``ss_``) and the model specification (``modelspec.``).

    ``base`` names the base's family. ``step`` is the step of the weights, ``stop_reason`` says why training stopped. No time or
    path is recorded, so that the same adapter is the same file.
    """
    # PiSSA is exported together with its initial weights, which doubles the rank.
    rank = str(recipe.adapter.rank * (2 if recipe.adapter.initialization == "pissa" else 1))
    word_counts = Counter(word.strip(",.") for entry in dataset.of("train") for word in entry.caption.split())
    return {
        "format": "pt",
        "ss_base_model_version": base.version,
        "ss_sd_model_name": recipe.base,
        "ss_sd_model_hash": base_sha256,
        "ss_v2": str(base.is_v2),
        "ss_network_module": "lycoris.kohya" if recipe.adapter.use_dora else "networks.lora",
        "ss_network_dim": rank,
        # Alpha is folded into the weights on export.
        "ss_network_alpha": rank,
        "ss_network_args": json.dumps(_network_arguments(recipe, rank)),
        "ss_network_train_unet_only": str(not recipe.adapter.text_encoders),
        "ss_output_name": name,
        "ss_steps": str(step),
        "ss_max_train_steps": str(recipe.steps),
        "ss_training_comment": stop_reason,
        "ss_seed": str(recipe.seed),
        "ss_learning_rate": str(recipe.optimizer.lr),
        "ss_num_train_images": str(len(dataset.of("train"))),
        "ss_resolution": f"({recipe.resolution}, {recipe.resolution})",
        "ss_tag_frequency": json.dumps({dataset.trigger: dict(sorted(word_counts.items()))}),
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": base.architecture,
        "modelspec.implementation": "diffusers",
        "modelspec.title": name,
        "modelspec.resolution": f"{recipe.resolution}x{recipe.resolution}",
        "modelspec.trigger_phrase": dataset.trigger,
        "modelspec.prediction_type": "v" if prediction == "v_prediction" else "epsilon",
    }


def _network_arguments(recipe: Recipe, rank: str) -> dict[str, str]:
    """Return the network arguments with which kohya's trainer would build such a network."""
    arguments = {"algo": "lora", "dora_wd": "True"} if recipe.adapter.use_dora else {}
    return arguments | ({"conv_dim": rank, "conv_alpha": rank} if "convolution" in recipe.adapter.targets else {})


def model_card(
    recipe: Recipe,
    dataset: Dataset,
    name: str,
    base: LoraMetadata,
    stop_reason: str,
    hashes: Mapping[str, str],
    previews: Sequence[PreviewPair],
    licence: str,
    embedding_keys: Mapping[str, str],
    verdict: Verdict | None = None,
    as_lora: int | None = None,
) -> str:
    """Return the model card with the front matter that the hub reads. ``hashes``: description → SHA-256.

    ``base`` and ``stop_reason`` are as in ``header_metadata``, ``embedding_keys`` those of the base's family. ``verdict``: the
    evaluation's verdict on this adapter, if there is one. ``as_lora``: the rank of the plain LoRA that a DoRA was converted to.
    """
    captions = "\n".join(f"- {entry.caption}" for entry in dataset.of("train")[:5])
    front_matter = {
        **_base_entry(recipe.base),
        "instance_prompt": dataset.trigger,
        "library_name": "diffusers",
        **_licence_entry(licence),
        "tags": ["lora", "diffusers", "template:sd-lora", base.tag, "text-to-image"],
        **({"widget": [{"text": pair.prompt, "output": {"url": pair.adapted}} for pair in previews]} if previews else {}),
        **_model_index(name, verdict),
    }
    return f"""---
{yaml.safe_dump(front_matter, sort_keys=False, allow_unicode=True).rstrip()}
---

# {name}

A LoRA for `{published_as(recipe.base)}`. Use **{dataset.trigger}** in the prompt to activate it.
{_evaluation(verdict)}
{_preview_table(previews)}| | |
|---|---|
| images | {len(dataset.of("train"))} at {recipe.resolution} px |
| steps | {recipe.steps} requested: {stop_reason} |
| batch size, seed | {recipe.batch_size}, {recipe.seed} |
| adapter | rank {recipe.adapter.rank if as_lora is None else as_lora}, {_describe_adapter(recipe)}; alpha is folded in |
| learning rate | {recipe.optimizer.lr:g} |
| licence | that of the base: {licence} |
{_hash_rows(hashes)}

`{name}.safetensors` is in the kohya layout, `pytorch_lora_weights.safetensors` in the diffusers layout: the same adapter twice.
{_embedding_note(recipe, dataset, name, embedding_keys)}{_dora_note(recipe, as_lora)}
Examples of the captions it was trained on:

{captions}

Made by {_PROGRAM}; `manifest.json` lists every input.
"""


def _evaluation(verdict: Verdict | None) -> str:
    """Return the verdict, with the recommended scale; empty without an evaluation."""
    if verdict is None:
        return ""
    interval = " The interval is the 95 % interval over prompts that were not used to choose the scale." if verdict.effect else ""
    return f"\n**Evaluated: {verdict.sentence}.**{interval} `verdict.json` has the figures.\n"


def _model_index(name: str, verdict: Verdict | None) -> dict[str, Any]:
    """Return the evaluation result for the hub's front matter."""
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


def _base_entry(base: str) -> dict[str, str]:
    """Return the front matter that links the base; empty for a base that is only on this disk."""
    published = published_as(base)
    is_repository = not Path(published).exists() and published.count("/") == 1 and not published.startswith((".", "/", "models/"))
    return {"base_model": published} if is_repository else {}


def _dora_note(recipe: Recipe, as_lora: int | None) -> str:
    """Return the note on using a DoRA in other programs; empty if it is not one."""
    if not recipe.adapter.use_dora:
        return ""
    if as_lora is not None:
        return f"\nIt was trained as a DoRA of rank {recipe.adapter.rank}; this is the nearest plain LoRA of rank {as_lora}.\n"
    return f"\n{DORA_NOTE[0].upper()}{DORA_NOTE[1:]}.\n"


def _embedding_note(recipe: Recipe, dataset: Dataset, name: str, embedding_keys: Mapping[str, str]) -> str:
    """Return the note on using the learned tokens in other programs; empty if there are none."""
    if not recipe.adapter.tokens:
        return ""
    tensors = " and ".join(f"`{key}` for its `{component}`" for key, component in embedding_keys.items())
    return f"""
**{dataset.trigger}** is a learned embedding: `{name}{ENDING}` holds the tokens that replace the word in the text encoders. This
server loads the file if it is next to the adapter. ComfyUI and A1111 use it as an embedding: put it into their embeddings folder
and write its file name in the prompt. In diffusers, pass its tensors to the pipeline's `load_textual_inversion`: {tensors}.
"""


def _hash_rows(hashes: Mapping[str, str]) -> str:
    return "\n".join(f"| SHA-256 of {description} | `{digest}` |" for description, digest in hashes.items())


def _licence_entry(licence: str) -> dict[str, str]:
    """Return the licence for the hub's front matter, by the hub's own identifier if it has one."""
    identifier = _HUB_LICENCES.get(licence)
    return {"license": identifier} if identifier else {"license": "other", "license_name": licence}


def _describe_adapter(recipe: Recipe) -> str:
    learned_tokens = f", {recipe.adapter.tokens} learned tokens for the trigger word" if recipe.adapter.tokens else ""
    return recipe.adapter.targets + (", text encoders too" if recipe.adapter.text_encoders else "") + learned_tokens


def _preview_table(previews: Sequence[PreviewPair]) -> str:
    """Return a table of the base's and the adapter's images side by side; empty without previews."""
    if not previews:
        return ""
    rows = [f"| ![]({pair.base}) | ![]({pair.adapted}) | {pair.prompt} |" for pair in previews]
    return "\n".join(["| the base | with the adapter | the same prompt and noise |", "|---|---|---|", *rows]) + "\n\n"
