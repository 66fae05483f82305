"""What a run will need, found out before anything is loaded: a step is walked through with tensors of shapes and no values.

The walk counts what the backward pass will have to keep and every multiplication there is; how fast those go is measured with one
matrix product on this machine.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from foundation import processes
from training.memory.peak_memory import PeakMemoryTracker
from training.model import adapter
from training.model.adapted_model import DTYPES, Adapted, adapted_components
from training.model.quantize import BYTES, linear_weights
from training.recipe import Recipe
from zthumb.families.base import Conditioning, Family

EFFICIENCY = 0.4
"""Share of a large matrix product's speed that a whole step reaches; the rest goes to small operations and memory."""

_OPTIMIZER_STATES: Mapping[str, float] = {"adamw": 8, "adamw_8bit": 2, "prodigy": 16, "adafactor": 0.1}
"""Bytes that an optimizer keeps for each trained weight."""


@dataclass(frozen=True)
class Estimate:
    """Bytes on the device by what they are for, and the floating-point operations of a step.

    ``weights`` are the frozen ones of the adapted parts, ``adapter`` its weights with all that trains them. Beside these come a
    step's ``activations``, or what generating ``previews`` takes; beside the weights alone, what generating the ``prior`` takes.
    """

    weights: int
    adapter: int
    activations: int
    previews: int
    prior: int
    operations: float

    @property
    def peak(self) -> int:
        """The most that is there at once, in bytes."""
        return self.weights + max(self.adapter + self.activations, self.adapter + self.previews, self.prior)


def estimate(recipe: Recipe, family: Family, folder: Path, device: torch.device, has_own_prior: bool = False) -> Estimate:
    """Walk one step of ``recipe`` on ``device`` for the base in ``folder``, of which the configuration is enough.

    ``has_own_prior``: the data set brings images for prior preservation itself.
    """
    dtype, attention = DTYPES[recipe.precision], _attention(device)
    images = recipe.batch_size + (
        recipe.prior.batch_size if recipe.prior.weight > 0 and (recipe.prior.prompts or has_own_prior) else 0
    )
    with torch.device("meta"):
        adapted = _adapted(recipe, family, folder, dtype)
        denoiser: Any = adapted.parts[family.denoiser_component]
        denoiser.set_attn_processor(attention)
        configuration = family.configuration(folder, family.denoiser_component)
        spared = _spared(recipe, family, folder, dtype)
        noisy, told = _inputs(family, configuration, images, dtype, recipe.resolution)
        kept = _Kept(adapted)
        with FlopCounterMode(display=False) as operations:
            with torch.autograd.graph.saved_tensors_hooks(kept.pack, lambda tensor: tensor):
                loss: Tensor = adapted(noisy, torch.zeros(images), told).sum()
            attended = _attended(attention)
            forward = operations.get_total_flops() + attended
            loss.backward()  # type: ignore[no-untyped-call]
    frozen = sum(parameter.nbytes for parameter in adapted.parameters() if not parameter.requires_grad)
    trained = sum(parameter.numel() for parameter in adapter.trained(adapted))
    return Estimate(
        weights=round(frozen - spared) // (processes.count() if recipe.shard else 1),
        adapter=round(trained * (4 + 4 + _OPTIMIZER_STATES[recipe.optimizer.name] + (4 if recipe.adapter.ema_decay else 0))),
        activations=kept.bytes,
        previews=_previews(recipe, family, folder, device) if recipe.previews.prompts else 0,
        prior=_prior(recipe, family, folder, device) if recipe.prior.weight > 0 and recipe.prior.prompts else 0,
        # Attention's backward pass is two and a half forward ones; the base is asked once more about the prior's images.
        operations=recipe.gradient_accumulation_steps
        * (
            operations.get_total_flops() + _attended(attention) + 2.5 * attended + forward * (images - recipe.batch_size) / images
        ),
    )


def _previews(recipe: Recipe, family: Family, folder: Path, device: torch.device) -> int:
    """Generating one preview: encoders and autoencoder beside the denoiser, and the more thirsty of the two that generate."""
    dtype = DTYPES[recipe.precision]
    size = min(recipe.resolution, recipe.previews.tile or recipe.resolution)
    with torch.device("meta"), torch.no_grad():
        has_text = len(adapted_components(recipe, family)) > 1
        text = 0 if has_text else _text_encoders(family, folder, dtype)
        (part,) = family.image_components
        autoencoder = family.build_component(part, family.configuration(folder, part))
        with PeakMemoryTracker() as decoding:
            family.decode_empty(autoencoder, 1, size)
    # The autoencoder decodes in fp32 whatever the rest is in.
    weights = sum(parameter.nbytes for parameter in autoencoder.parameters())
    generating = max(int(decoding.peak), _denoising(dtype, recipe.resolution, family, folder, device, images=1))
    return text + int(weights) + generating


def _prior(recipe: Recipe, family: Family, folder: Path, device: torch.device) -> int:
    """Generating the prior's images, before there is an adapter."""
    dtype = DTYPES[recipe.precision]
    return _text_encoders(family, folder, dtype) + _denoising(
        dtype, recipe.resolution, family, folder, device, recipe.prior.batch_size
    )


@cache
def _text_encoders(family: Family, folder: Path, dtype: torch.dtype) -> int:
    names = [name for name in family.adapted_components if name != family.denoiser_component]
    with torch.device("meta"):
        parts = [family.build_component(name, family.configuration(folder, name)) for name in names]
    return sum(parameter.numel() * dtype.itemsize for part in parts for parameter in part.parameters())


@cache
def _denoising(dtype: torch.dtype, resolution: int, family: Family, folder: Path, device: torch.device, images: int) -> int:
    """What the denoiser takes beside its weights to predict ``images``, each with its prompt and without."""
    configuration = family.configuration(folder, family.denoiser_component)
    with torch.device("meta"), torch.no_grad():
        denoiser = family.build_component(family.denoiser_component, configuration).to(dtype)
        denoiser.set_attn_processor(_attention(device))
        noisy, told = _inputs(family, configuration, 2 * images, dtype, resolution)
        with PeakMemoryTracker() as live:
            family.predict(denoiser, noisy, torch.zeros(2 * images), told)
    return int(live.peak)


def _inputs(
    family: Family, configuration: Mapping[str, Any], images: int, dtype: torch.dtype, resolution: int
) -> tuple[Tensor, Conditioning]:
    noisy, told = family.empty_inputs(configuration, images, resolution)
    told = replace(told, states=told.states.to(dtype), pooled=told.pooled.to(dtype), time_ids=told.time_ids.to(dtype))
    return noisy.to(dtype), told


def _attention(device: torch.device) -> Any:
    return _FusedAttention() if device.type == "cuda" else AttnProcessor()


def _spared(recipe: Recipe, family: Family, folder: Path, dtype: torch.dtype) -> float:
    """The bytes that quantizing the denoiser spares."""
    if recipe.quantize == "none":
        return 0.0
    denoiser = family.build_component(family.denoiser_component, family.configuration(folder, family.denoiser_component))
    return linear_weights(denoiser) * (dtype.itemsize - BYTES[recipe.quantize])


def _adapted(recipe: Recipe, family: Family, folder: Path, dtype: torch.dtype) -> Adapted:
    """The adapted parts without values."""
    parts = {}
    for name in adapted_components(recipe, family):
        parts[name] = family.build_component(name, family.configuration(folder, name)).requires_grad_(False).to(dtype)
    adapter.attach(parts, recipe, family)
    return Adapted(family, parts)


def operations_per_second(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations in a second of one matrix product."""
    size = 8192 if device.type == "cuda" else 1024
    one, other = torch.ones(size, size, device=device, dtype=dtype), torch.ones(size, size, device=device, dtype=dtype)
    times = []
    for _ in range(4):
        started = time.perf_counter()
        # Reading a value waits for the device.
        float((one @ other)[0, 0])
        times.append(time.perf_counter() - started)
    return 2 * size**3 / min(times)


class _Kept:
    """Adds up what autograd keeps of the forward pass, each storage once and no weight."""

    def __init__(self, denoiser: Any) -> None:
        self.bytes = 0
        self._seen = {parameter.untyped_storage()._cdata for parameter in denoiser.parameters()}
        self._alive: list[Tensor] = []

    def pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._seen:
            self._seen.add(storage._cdata)
            self._alive.append(tensor)
            self.bytes += storage.nbytes()
        return tensor


class _FusedAttention:
    """Attention as GPUs do it, which keeps queries, keys, values and the result, and never the matrix between them.

    It takes the place of diffusers' attention processors and counts its operations, which the counter does not know.
    """

    def __init__(self) -> None:
        self.operations = 0.0

    def __call__(self, attention: Any, hidden: Tensor, encoder_hidden_states: Tensor | None = None, **_: Any) -> Tensor:
        told = hidden if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = attention.to_q(hidden), attention.to_k(told), attention.to_v(told)
        self.operations += 4.0 * query.numel() * key.shape[1]
        mixed = _Attention.apply(query, key, value)  # type: ignore[no-untyped-call]
        out: Tensor = attention.to_out[0](mixed)
        return out


def _attended(attention: Any) -> float:
    """The operations of fused attention; others are counted with the rest."""
    return attention.operations if isinstance(attention, _FusedAttention) else 0.0


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        out = torch.empty_like(query)
        ctx.save_for_backward(query, key, value, out)
        return out

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.empty_like(tensor) for tensor in ctx.saved_tensors[:3])
