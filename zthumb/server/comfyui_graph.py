"""ComfyUI keeps in an image the graph that made it: its parameters are found by following links back from the sampler."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_SAMPLERS = ("KSampler", "SamplerCustom")
_FARTHEST = 200
_RENAMED = {"noise_seed": "seed", "sampler_name": "sampler"}

Graph = Mapping[str, Any]


def parameters_of_graph(graph: Graph) -> dict[str, Any] | None:
    """The parameters of the first sampler of a graph in ComfyUI's API form (number of node → class, inputs); None without one."""
    nodes = {number: node for number, node in graph.items() if isinstance(node, dict) and isinstance(node.get("inputs"), dict)}
    sampler = next((node for node in nodes.values() if str(node.get("class_type")).startswith(_SAMPLERS)), None)
    if sampler is None:
        return None
    found: dict[str, Any] = {}
    # Nodes of custom sampling hold seed, steps and sampler apart, behind links.
    for node in (sampler, *_behind(nodes, sampler, ("noise", "sigmas", "sampler", "guider"))):
        for name in ("seed", "noise_seed", "steps", "cfg", "sampler_name", "scheduler", "denoise"):
            value = node["inputs"].get(name)
            if isinstance(value, (int, float, str)):
                found.setdefault(_RENAMED.get(name, name), value)
    for name, link in (("prompt", "positive"), ("negative_prompt", "negative")):
        if texts := [text for node in _behind(nodes, sampler, (link,)) for text in _texts(node)]:
            found[name] = texts[0]
    found.update(_of_latents(nodes, sampler))
    found.update(_of_models(nodes, sampler))
    return found


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
        waiting += list(other["inputs"].values())
