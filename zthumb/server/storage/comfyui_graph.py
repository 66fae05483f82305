"""ComfyUI stores in an image the graph that made it: its parameters are found by following links back from the sampler."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_SAMPLERS, _NOT_A_SAMPLER = ("KSampler", "SamplerCustom"), "KSamplerSelect"
_PROMPTS = ("positive", "negative")
"""Inputs of samplers and guiders, and of nodes that change both prompts, whose first output is the positive one."""

_MAX_NODES = 200
_RENAMED = {"noise_seed": "seed", "sampler_name": "sampler"}

Graph = Mapping[str, Any]


def parameters_of_graph(graph: Graph) -> dict[str, Any] | None:
    """Return the parameters of the first sampler in a graph in ComfyUI's API form (node number → class, inputs).

    None if the graph has no sampler.
    """
    nodes = {number: node for number, node in graph.items() if isinstance(node, dict) and isinstance(node.get("inputs"), dict)}
    sampler = next((node for node in nodes.values() if _is_sampler(str(node.get("class_type")))), None)
    if sampler is None:
        return None
    parameters: dict[str, Any] = {}
    # With custom sampling, seed, steps and sampler are in nodes of their own that the sampler links to.
    for node in (sampler, *_upstream_nodes(nodes, sampler, ("noise", "sigmas", "sampler", "guider"))):
        for name in ("seed", "noise_seed", "steps", "cfg", "sampler_name", "scheduler", "denoise"):
            value = node["inputs"].get(name)
            if isinstance(value, (int, float, str)):
                parameters.setdefault(_RENAMED.get(name, name), value)
    prompted_nodes = (sampler, *_upstream_nodes(nodes, sampler, ("guider",)))
    for name, inputs in (("prompt", ("positive", "conditioning")), ("negative_prompt", ("negative",))):
        texts = [
            text for node in prompted_nodes for upstream in _upstream_nodes(nodes, node, inputs) for text in _texts(upstream)
        ]
        if texts:
            parameters[name] = texts[0]
    parameters.update(_image_size(nodes, sampler))
    parameters.update(_model_and_loras(nodes, sampler))
    return parameters


def _is_sampler(class_type: str) -> bool:
    return class_type.startswith(_SAMPLERS) and class_type != _NOT_A_SAMPLER


def _image_size(nodes: Graph, sampler: Graph) -> dict[str, Any]:
    for node in _upstream_nodes(nodes, sampler, ("latent_image", "latent")):
        size = {name: node["inputs"].get(name) for name in ("width", "height")}
        if all(isinstance(value, int) for value in size.values()):
            return size
    return {}


def _model_and_loras(nodes: Graph, sampler: Graph) -> dict[str, Any]:
    parameters: dict[str, Any] = {}
    loras = []
    for node in _upstream_nodes(nodes, sampler, ("model", "guider")):
        inputs = node["inputs"]
        if isinstance(name := inputs.get("lora_name"), str):
            loras.append({"id": name, "weight": inputs.get("strength_model", 1.0)})
        for key in ("ckpt_name", "unet_name"):
            if isinstance(inputs.get(key), str):
                parameters.setdefault("model", inputs[key])
    return {**parameters, **({"loras": loras[::-1]} if loras else {})}


def _texts(node: Graph) -> Iterator[str]:
    for name in ("text", "text_g", "text_l", "clip_l", "t5xxl"):
        if isinstance(text := node["inputs"].get(name), str):
            yield text


def _upstream_nodes(nodes: Graph, node: Graph, inputs: tuple[str, ...]) -> Iterator[Graph]:
    """Yield the nodes upstream of some inputs of ``node``, breadth first, each once."""
    pending = [node["inputs"].get(name) for name in inputs]
    visited: set[str] = set()
    while pending and len(visited) < _MAX_NODES:
        link = pending.pop(0)
        if not (isinstance(link, list) and link and str(link[0]) in nodes and str(link[0]) not in visited):
            continue
        visited.add(str(link[0]))
        upstream = nodes[str(link[0])]
        yield upstream
        pending += _upstream_links(upstream["inputs"], link)


def _upstream_links(inputs: Mapping[str, Any], link: list[Any]) -> list[Any]:
    """Return the inputs that an output of a node depends on: only one prompt's if the node passes both prompts on."""
    is_of_one_prompt = all(name in inputs for name in _PROMPTS) and len(link) > 1 and link[1] in (0, 1)
    return [inputs[_PROMPTS[link[1]]]] if is_of_one_prompt else list(inputs.values())
