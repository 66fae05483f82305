"""The trainable weights: put onto the parts of the base that are adapted, and read back."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from diffusers.models.attention_processor import AttnProcessor
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from foundation.seeds import derive
from training.model import learned_tokens
from training.model.init_from_adapter import begin_from
from training.recipe import Recipe
from zthumb.adapters import module_shapes
from zthumb.adapters.module_shapes import to_file_key
from zthumb.families.base import Family

_TRAINED, _START = "default", "start"
_OVERSAMPLING, _ITERATIONS = 8, 4

Parts = Mapping[str, Any]


def attach(parts: Parts, whole: Recipe, family: Family) -> None:
    """Put trainable fp32 LoRA weights onto ``parts`` of a pipeline, such that the adapted model starts as the base."""
    reference = whole.adapter.begin_from
    # Before anything is put around its modules.
    base = module_shapes.of_parts("the base", parts) if reference is not None else None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(whole.seed, "adapter"))
        for part, model in parts.items():
            is_denoiser = part == family.denoiser_component
            if is_denoiser or whole.adapter.text_encoders:
                _inject_layers(model, family.lora_modules(part, model, whole.adapter.targets), whole)
            if whole.adapter.tokens and not is_denoiser:
                learned_tokens.add(model, whole.adapter.tokens)
            _speed_up(model, whole)
    if reference is not None and base is not None:
        begin_from(reference, base, dict(_paths(parts)), _TRAINED)


def trained(model: nn.Module) -> list[nn.Parameter]:
    """The parameters of a part that training moves."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def enable(parts: Parts, enabled: bool) -> None:
    """Let the adapter count, or the base alone."""
    for model in parts.values():
        for layer in _layers(model).values():
            if _START in layer.lora_A:
                # Without it the weight lacks its largest components.
                layer.set_adapter(_TRAINED if enabled else _START)
            else:
                layer.enable_adapters(enabled)


def weights(parts: Parts) -> dict[str, Tensor]:
    """What is exported, by PEFT name below each part's, on the CPU; a scale is still to be applied. A word is ``<part>.word``.

    With PiSSA this is the trained weights less those they started from, side by side: an ordinary LoRA of twice the rank.
    """
    # Copies: the average is in the place of the weights only while they are read.
    found = {f"{path}.{name}": value.cpu().clone() for path, layer in _paths(parts) for name, value in _exported(layer).items()}
    learned = {part: learned_tokens.of(model) for part, model in parts.items()}
    return found | {
        f"{part}.{learned_tokens.NAME}": rows.detach().cpu().clone() for part, rows in learned.items() if rows is not None
    }


def state(parts: Parts) -> dict[str, Tensor]:
    """What a run goes on from, on the CPU."""
    found = {}
    for part, model in parts.items():
        for name, value in model.named_parameters():
            if _is_kept(name, value):
                found[f"{part}.{name}"] = value.detach().cpu().clone()
    return found


@torch.no_grad()
def load(parts: Parts, found: Mapping[str, Tensor]) -> None:
    """Put what ``state`` gave in place of the present weights."""
    for part, model in parts.items():
        for name, value in model.named_parameters():
            if _is_kept(name, value):
                value.copy_(found[f"{part}.{name}"])


def _is_kept(name: str, parameter: nn.Parameter) -> bool:
    # What PiSSA starts from is not trained, and yet not in the base.
    return ".lora_" in name or parameter.requires_grad


def _inject_layers(model: Any, modules: list[str], whole: Recipe) -> None:
    inject_adapter_in_model(_configuration(whole, modules), model, adapter_name=_TRAINED)
    if whole.adapter.initialization == "pissa":
        _begin_with_principal_components(model, _configuration(whole, modules))
    for name, parameter in model.named_parameters():
        if ".lora_" in name:
            parameter.data = parameter.data.float()
    for layer in _layers(model).values() if whole.adapter.use_dora else ():
        _measure_norms_again(layer)


def _configuration(whole: Recipe, modules: list[str]) -> LoraConfig:
    recipe = whole.adapter
    return LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        target_modules=modules,
        use_rslora=recipe.use_rslora,
        use_dora=recipe.use_dora,
    )


@torch.no_grad()
def _begin_with_principal_components(model: Any, configuration: LoraConfig) -> None:
    """PiSSA (arXiv 2404.02948): start from the weight's own largest components, and leave the weight what they are not.

    They stay on as a second, frozen adapter, which stands in for the trained one where the base is asked alone.
    """
    inject_adapter_in_model(configuration, model, adapter_name=_START)
    for layer in _layers(model).values():
        rank, scale = layer.r[_TRAINED], layer.scaling[_TRAINED]
        weight = layer.get_base_layer().weight
        for name in (_TRAINED, _START):
            layer.lora_A[name].float()
            layer.lora_B[name].float()
        down, up = layer.lora_A[_TRAINED].weight, layer.lora_B[_TRAINED].weight
        if weight.device.type != "meta":
            flat = weight.float().flatten(1)
            left, values, right = torch.svd_lowrank(flat, min(rank + _OVERSAMPLING, *flat.shape), niter=_ITERATIONS)
            # A weight smaller than the rank has fewer components; the others start at zero.
            found = min(rank, len(values))
            root = (values[:found] / scale).sqrt()
            up.zero_()[:, :found] = (left[:, :found] * root).reshape(up[:, :found].shape)
            down.zero_()[:found] = (root[:, None] * right[:, :found].T).reshape(down[:found].shape)
            weight -= scale * (up.flatten(1) @ down.flatten(1)).reshape(weight.shape).to(weight.dtype)
        layer.lora_A[_START].weight.copy_(down)
        layer.lora_B[_START].weight.copy_(up)
        layer.set_adapter(_TRAINED)


@torch.no_grad()
def _measure_norms_again(layer: Any) -> None:
    """DoRA begins with the norms of the base's weight; measured in sixteen bits, it would not begin as the base."""
    weight = layer.get_base_layer().weight
    if weight.is_floating_point() and weight.device.type != "meta":
        norms = layer.lora_magnitude_vector[_TRAINED].weight
        norms.copy_(weight.float().flatten(1).norm(dim=1).reshape(norms.shape))


def _speed_up(model: Any, whole: Recipe) -> None:
    is_denoiser = hasattr(model, "set_attn_processor")
    if whole.gradient_checkpointing:
        model.enable_gradient_checkpointing() if is_denoiser else model.gradient_checkpointing_enable()
        # Checkpoints are made in training mode alone; nothing else in these models depends on it.
        model.train()
    if whole.compile and is_denoiser:
        model.compile_repeated_blocks()
    if model.device.type == "cpu":
        # On a CPU the backward pass of fused attention takes twice as long as plain matrix products.
        model.set_attn_processor(AttnProcessor()) if is_denoiser else model.set_attn_implementation("eager")


def _layers(model: nn.Module) -> dict[str, Any]:
    return {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}


def _paths(parts: Parts) -> Iterator[tuple[str, Any]]:
    for part, model in parts.items():
        for name, layer in _layers(model).items():
            yield f"{part}.{to_file_key(part, name)}", layer


def _exported(layer: Any) -> dict[str, Tensor]:
    down, up = layer.lora_A[_TRAINED].weight.detach(), layer.lora_B[_TRAINED].weight.detach()
    if _START in layer.lora_A:
        down = torch.cat([down, layer.lora_A[_START].weight])
        up = torch.cat([up, -layer.lora_B[_START].weight], dim=1)
    found = {"lora_A.weight": down, "lora_B.weight": up}
    if _TRAINED in layer.lora_magnitude_vector:
        found["lora_magnitude_vector"] = layer.lora_magnitude_vector[_TRAINED].weight.detach()
    return found
