"""ComfyUI keeps in an image the graph that made it: its parameters are found by following links back from the sampler."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_SAMPLERS, _NO_SAMPLER = ("KSampler", "SamplerCustom"), "KSamplerSelect"
_PROMPTS = ("positive", "negative")
"""Inputs of samplers and guiders, and of nodes that change both prompts, whose first output is then the positive one."""

_FARTHEST = 200
_RENAMED = {"noise_seed": "seed", "sampler_name": "sampler"}

Graph = Mapping[str, Any]


def parameters_of_graph(graph: Graph) -> dict[str, Any] | None:
    """The parameters of the first sampler of a graph in ComfyUI's API form (number of node → class, inputs); None without one."""
    nodes = {number: node for number, node in graph.items() if isinstance(node, dict) and isinstance(node.get("inputs"), dict)}
    sampler = next((node for node in nodes.values() if _is_sampler(str(node.get("class_type")))), None)
    if sampler is None:
        return None
    found: dict[str, Any] = {}
    # Nodes of custom sampling hold seed, steps and sampler apart, behind links.
    for node in (sampler, *_behind(nodes, sampler, ("noise", "sigmas", "sampler", "guider"))):
        for name in ("seed", "noise_seed", "steps", "cfg", "sampler_name", "scheduler", "denoise"):
            value = node["inputs"].get(name)
            if isinstance(value, (int, float, str)):
                found.setdefault(_RENAMED.get(name, name), value)
    asked = (sampler, *_behind(nodes, sampler, ("guider",)))
    for name, links in (("prompt", ("positive", "conditioning")), ("negative_prompt", ("negative",))):
        if texts := [text for node in asked for each in _behind(nodes, node, links) for text in _texts(each)]:
            found[name] = texts[0]
    found.update(_of_latents(nodes, sampler))
    found.update(_of_models(nodes, sampler))
    return found


def _is_sampler(kind: str) -> bool:
    return kind.startswith(_SAMPLERS) and kind != _NO_SAMPLER


def _of_latents(nodes: Graph, sampler: Graph) -> dict[str, Any]:
    for node in _behind(nodes, sampler, ("latent_image", "latent")):
        size = {name: node["inputs"].get(name) for name in ("width", "height")}
        if all(isinstance(value, int) for value in size.values()):
            return size
    return {}


def _of_models(nodes: Graph, sampler: Graph) -> dict[str, Any]:
    found: dict[str, Any] = {}
    loras = []
    for node in _behind(nodes, sampler, ("model", "guider")):
        inputs = node["inputs"]
        if isinstance(name := inputs.get("lora_name"), str):
            loras.append({"id": name, "weight": inputs.get("strength_model", 1.0)})
        for key in ("ckpt_name", "unet_name"):
            if isinstance(inputs.get(key), str):
                found.setdefault("model", inputs[key])
    return {**found, **({"loras": loras[::-1]} if loras else {})}


def _texts(node: Graph) -> Iterator[str]:
    for name in ("text", "text_g", "text_l", "clip_l", "t5xxl"):
        if isinstance(text := node["inputs"].get(name), str):
            yield text


def _behind(nodes: Graph, node: Graph, inputs: tuple[str, ...]) -> Iterator[Graph]:
    """The nodes behind some inputs of ``node``, near ones first, each once."""
    waiting = [node["inputs"].get(name) for name in inputs]
    seen: set[str] = set()
    while waiting and len(seen) < _FARTHEST:
        link = waiting.pop(0)
        if not (isinstance(link, list) and link and str(link[0]) in nodes and str(link[0]) not in seen):
            continue
        seen.add(str(link[0]))
        other = nodes[str(link[0])]
        yield other
        waiting += _followed(other["inputs"], link)


def _followed(inputs: Mapping[str, Any], link: list[Any]) -> list[Any]:
    """The inputs that what a link takes from a node comes from: one prompt's alone, where the node passes on both."""
    is_of_prompt = all(name in inputs for name in _PROMPTS) and len(link) > 1 and link[1] in (0, 1)
    return [inputs[_PROMPTS[link[1]]]] if is_of_prompt else list(inputs.values())
