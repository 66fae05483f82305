"""The trainable weights of an adapter: injected into the adapted components of the base, and read back."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from foundation.seeds import derive
from training.model import learned_tokens
from training.model.init_from_adapter import init_from_adapter
from training.recipe import Recipe
from zthumb.adapters import module_shapes
from zthumb.families.base import ModelFamily

_TRAINED, _START = "default", "start"
_OVERSAMPLING, _ITERATIONS = 8, 4

Components = Mapping[str, Any]


def attach(components: Components, recipe: Recipe, family: ModelFamily) -> None:
    """Inject trainable fp32 LoRA weights into ``components`` of a pipeline, such that the adapted model starts as the base."""
    reference = recipe.adapter.init_from
    # Before any module is wrapped.
    base = module_shapes.of_components("the base", components, family) if reference is not None else None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(recipe.seed, "adapter"))
        for name, model in components.items():
            is_denoiser = name == family.denoiser_component
            if is_denoiser or recipe.adapter.text_encoders:
                _inject_layers(model, family.lora_modules(name, model, recipe.adapter.targets), recipe)
            if recipe.adapter.tokens and not is_denoiser:
                learned_tokens.add_tokens(model, recipe.adapter.tokens)
            _speed_up(model, name, recipe, family)
    if reference is not None and base is not None:
        init_from_adapter(reference, base, dict(_layers_by_path(components, family)), _TRAINED)


def trained_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that training changes."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def enable(components: Components, enabled: bool) -> None:
    """Enable the adapter, or disable it so that the base predicts alone."""
    for model in components.values():
        for layer in _layers(model).values():
            if _START in layer.lora_A:
                # The base's weight lacks its largest components, which the frozen start adds.
                layer.set_adapter(_TRAINED if enabled else _START)
            else:
                layer.enable_adapters(enabled)


def exported_weights(components: Components, family: ModelFamily) -> dict[str, Tensor]:
    """Return what is exported, by PEFT name below each component's, on the CPU, before scaling.

    Learned tokens are ``<component>.word``. With PiSSA it is the trained weights minus those they started from, side by side: an
    ordinary LoRA of twice the rank.
    """
    # Copies: the average takes the place of the weights only while they are read.
    weights = {
        f"{path}.{name}": value.cpu().clone()
        for path, layer in _layers_by_path(components, family)
        for name, value in _exported(layer).items()
    }
    embeddings = {name: learned_tokens.embeddings_of(model) for name, model in components.items()}
    return weights | {
        f"{name}.{learned_tokens.NAME}": rows.detach().cpu().clone() for name, rows in embeddings.items() if rows is not None
    }


def training_state(components: Components) -> dict[str, Tensor]:
    """Return what a run resumes from, on the CPU."""
    return {
        f"{name}.{key}": value.detach().cpu().clone()
        for name, model in components.items()
        for key, value in model.named_parameters()
        if _is_stored(key, value)
    }


@torch.no_grad()
def load_training_state(components: Components, state: Mapping[str, Tensor]) -> None:
    """Replace the present weights by those of ``training_state``."""
    for name, model in components.items():
        for key, value in model.named_parameters():
            if _is_stored(key, value):
                value.copy_(state[f"{name}.{key}"])


def _is_stored(name: str, parameter: nn.Parameter) -> bool:
    # PiSSA's start is not trained, and not in the base either.
    return ".lora_" in name or parameter.requires_grad


def _inject_layers(model: Any, modules: list[str], recipe: Recipe) -> None:
    inject_adapter_in_model(_configuration(recipe, modules), model, adapter_name=_TRAINED)
    if recipe.adapter.initialization == "pissa":
        _start_as_principal_components(model, _configuration(recipe, modules))
    for name, parameter in model.named_parameters():
        if ".lora_" in name:
            parameter.data = parameter.data.float()
    for layer in _layers(model).values() if recipe.adapter.use_dora else ():
        _measure_norms_in_fp32(layer)


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
def _start_as_principal_components(model: Any, configuration: LoraConfig) -> None:
    """Start from the weight's own largest components, and subtract them from the weight (PiSSA, arXiv 2404.02948).

    They stay as a second, frozen adapter, which takes the place of the trained one when the base predicts alone.
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
            count = min(rank, len(values))
            root = (values[:count] / scale).sqrt()
            up.zero_()[:, :count] = (left[:, :count] * root).reshape(up[:, :count].shape)
            down.zero_()[:count] = (root[:, None] * right[:, :count].T).reshape(down[:count].shape)
            weight -= scale * (up.flatten(1) @ down.flatten(1)).reshape(weight.shape).to(weight.dtype)
        layer.lora_A[_START].weight.copy_(down)
        layer.lora_B[_START].weight.copy_(up)
        layer.set_adapter(_TRAINED)


@torch.no_grad()
def _measure_norms_in_fp32(layer: Any) -> None:
    """DoRA starts from the norms of the base's weight; measured in sixteen bits, it would not start as the base."""
    weight = layer.get_base_layer().weight
    if weight.is_floating_point() and weight.device.type != "meta":
        norms = layer.lora_magnitude_vector[_TRAINED].weight
        norms.copy_(weight.float().flatten(1).norm(dim=1).reshape(norms.shape))


def _speed_up(model: Any, component: str, recipe: Recipe, family: ModelFamily) -> None:
    is_denoiser = component == family.denoiser_component
    if recipe.gradient_checkpointing:
        model.enable_gradient_checkpointing() if is_denoiser else model.gradient_checkpointing_enable()
        # Gradients are checkpointed in training mode alone; nothing else in these models depends on it.
        model.train()
    if recipe.compile and is_denoiser:
        model.compile_repeated_blocks()
    if model.device.type == "cpu":
        family.use_plain_attention(component, model)


def _layers(model: nn.Module) -> dict[str, Any]:
    return {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}


def _layers_by_path(components: Components, family: ModelFamily) -> Iterator[tuple[str, Any]]:
    for component, model in components.items():
        for name, layer in _layers(model).items():
            yield f"{component}.{family.file_path(component, name)}", layer


def _exported(layer: Any) -> dict[str, Tensor]:
    down, up = layer.lora_A[_TRAINED].weight.detach(), layer.lora_B[_TRAINED].weight.detach()
    if _START in layer.lora_A:
        down = torch.cat([down, layer.lora_A[_START].weight])
        up = torch.cat([up, -layer.lora_B[_START].weight], dim=1)
    tensors = {"lora_A.weight": down, "lora_B.weight": up}
    if _TRAINED in layer.lora_magnitude_vector:
        tensors["lora_magnitude_vector"] = layer.lora_magnitude_vector[_TRAINED].weight.detach()
    return tensors
