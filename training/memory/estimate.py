"""Estimate the memory and time of a run before anything is loaded: one step runs on the meta device.

This step counts the tensors that autograd saves for the backward pass, and all floating-point operations. Their speed is measured
with one matrix product on this machine.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from foundation import processes
from training.model import peft_adapter
from training.model.adapted_model import DTYPES, Adapted, adapted_components
from training.model.quantize import BYTES, linear_weights
from training.recipe import Recipe
from zthumb.diffusion.conditioning import Conditioning
from zthumb.families.base import ModelFamily
from zthumb.memory.block_swap import WINDOW, blocks_of, spread
from zthumb.memory.fused_attention import FusedAttention
from zthumb.memory.peak_memory import PeakMemoryTracker

EFFICIENCY = 0.4
"""The fraction of a large matrix product's speed that a whole step reaches; small operations and memory take the rest."""

_ATTENTION_BACKWARD = 2.5
"""Operations of the backward pass of fused attention for each of its forward pass (arXiv 2205.14135)."""

_OPTIMIZER_STATES: Mapping[str, float] = {"adamw": 8, "adamw_8bit": 2, "prodigy": 16, "adafactor": 0.1}
"""Bytes of optimizer state for each trained weight."""


@dataclass(frozen=True)
class Estimate:
    """Bytes on the device by purpose, and what counts the floating-point operations of a step.

    ``frozen`` are the weights of the adapted components, ``blocks`` those of each block of the denoiser, of which
    ``blocks_to_swap`` come for each of ``passes`` a step, at most ``window`` at once. ``adapter`` are the trained weights with
    gradients, optimizer state and average. A step's ``activations``, or generating ``previews``, come on top of both; generating
    the ``prior`` images comes on top of the frozen weights alone. The text encoders of ``encoding`` are there before all of it.
    """

    encoding: int
    frozen: int
    adapter: int
    activations: int
    previews: int
    prior: int
    blocks: tuple[int, ...]
    blocks_to_swap: int
    passes: int
    window: int
    count_operations: Callable[[], float]

    @property
    def weights(self) -> int:
        """Frozen weights that are on the device at once."""
        return self.frozen - sum(sorted(self._swapped, reverse=True)[self.window :])

    @property
    def moved(self) -> int:
        """Bytes that a step moves to the device."""
        return self.passes * sum(self._swapped)

    @property
    def _swapped(self) -> list[int]:
        return [self.blocks[index] for index in spread(len(self.blocks), self.blocks_to_swap)]

    def fewest_blocks(self, available: int) -> int:
        """Return how many blocks must be swapped to need at most ``available`` bytes; all of them if these are too few."""
        counts = range(len(self.blocks) + 1)
        return next((n for n in counts if replace(self, blocks_to_swap=n).peak <= available), len(self.blocks))

    @cached_property
    def operations(self) -> float:
        """The floating-point operations of a step; counted when they are first asked for, which takes as long as all else."""
        return self.count_operations()

    @property
    def peak(self) -> int:
        """The most bytes that are allocated at once."""
        return max(self.encoding, self.weights + max(self.adapter + self.activations, self.adapter + self.previews, self.prior))


def estimate(recipe: Recipe, family: ModelFamily, folder: Path, device: torch.device, has_own_prior: bool = False) -> Estimate:
    """Estimate one step of ``recipe`` on ``device`` for the base in ``folder``; only its configuration files are read.

    ``has_own_prior``: the data set has regularization images of its own.
    """
    dtype, fused = DTYPES[recipe.precision], FusedAttention()
    images = recipe.batch_size + (
        recipe.prior.batch_size if recipe.prior.weight > 0 and (recipe.prior.prompts or has_own_prior) else 0
    )
    with torch.device("meta"):
        adapted = _adapted(recipe, family, folder, dtype)
        for name, model in adapted.components.items():
            _choose_attention(family, name, model, device)
        configuration = family.configuration(folder, family.denoiser_component)
        noisy, conditioning = _inputs(family, configuration, images, dtype, recipe.resolution)
        saved = _SavedTensors(adapted)
        saving = torch.autograd.graph.saved_tensors_hooks(saved.pack, lambda tensor: tensor)
        with FlopCounterMode(display=False) as operations, saving, fused:
            loss: Tensor = adapted(noisy, torch.zeros(images), conditioning).sum()
    forward = _Operations(operations.get_total_flops(), fused.operations)
    frozen = sum(parameter.nbytes for parameter in adapted.parameters() if not parameter.requires_grad)
    denoiser = adapted.components[family.denoiser_component]
    sharing = processes.count() if recipe.shard else 1
    trained = sum(parameter.numel() for parameter in peft_adapter.trained_parameters(adapted))
    return Estimate(
        encoding=0 if recipe.text_encoders_on_cpu else _text_encoders(family, folder, dtype),
        frozen=(frozen - _saved_by_quantizing(recipe, denoiser)) // sharing,
        adapter=round(trained * (4 + 4 + _OPTIMIZER_STATES[recipe.optimizer.name] + (4 if recipe.adapter.ema_decay else 0))),
        activations=saved.bytes,
        previews=_previews(recipe, family, folder, device) if recipe.previews.prompts else 0,
        prior=_prior(recipe, family, folder, device) if recipe.prior.weight > 0 and recipe.prior.prompts else 0,
        blocks=tuple(_frozen_bytes(recipe, block) for block in blocks_of(denoiser)),
        blocks_to_swap=recipe.blocks_to_swap,
        # Once forward and once to be computed again; the base predicts prior images by itself.
        passes=recipe.gradient_accumulation_steps * (2 if images == recipe.batch_size else 3),
        window=1 if device.type == "cpu" else WINDOW,
        count_operations=lambda: _step_operations(recipe, forward, loss, (images - recipe.batch_size) / images),
    )


@dataclass(frozen=True)
class _Operations:
    """Floating-point operations of fused attention and of all else."""

    others: float
    attention: float


def _step_operations(recipe: Recipe, forward: _Operations, loss: Tensor, prior_share: float) -> float:
    """Return the operations of a step from those of the ``forward`` pass to ``loss``, whose backward pass is run.

    ``prior_share`` is the share of prior images in a batch.
    """
    with FlopCounterMode(display=False) as operations, FusedAttention() as recomputed:
        loss.backward()  # type: ignore[no-untyped-call]
    backward = operations.get_total_flops() + recomputed.operations + _ATTENTION_BACKWARD * forward.attention
    # The base predicts the prior images once more, without the adapter.
    total: float = (forward.others + forward.attention) * (1 + prior_share) + backward
    return recipe.gradient_accumulation_steps * total


def _previews(recipe: Recipe, family: ModelFamily, folder: Path, device: torch.device) -> int:
    """Return the bytes to generate a preview: text encoders, autoencoder, and the larger peak of denoising and decoding."""
    dtype = DTYPES[recipe.precision]
    size = min(recipe.resolution, recipe.previews.tile or recipe.resolution)
    with torch.device("meta"), torch.no_grad():
        has_text_encoders = len(adapted_components(recipe, family)) > 1
        text_encoders = 0 if has_text_encoders else _text_encoders(family, folder, dtype)
        (component,) = family.image_components
        autoencoder = family.build_component(component, family.configuration(folder, component))
        with PeakMemoryTracker(device.type) as decoding:
            family.decode_dummy(autoencoder, 1, size, size)
    # The autoencoder decodes in fp32 whatever the recipe's precision.
    weights = sum(parameter.nbytes for parameter in autoencoder.parameters())
    predictions = _predictions(1, recipe.previews.guidance_scale, family)
    activations = max(int(decoding.peak), _denoising(dtype, recipe.resolution, family, folder, device, predictions))
    return text_encoders + int(weights) + activations


def _prior(recipe: Recipe, family: ModelFamily, folder: Path, device: torch.device) -> int:
    """Return the bytes to generate the prior images, before the adapter is attached."""
    dtype = DTYPES[recipe.precision]
    predictions = _predictions(recipe.prior.batch_size, recipe.prior.guidance_scale, family)
    return _text_encoders(family, folder, dtype) + _denoising(dtype, recipe.resolution, family, folder, device, predictions)


def _predictions(images: int, guidance_scale: float, family: ModelFamily) -> int:
    """Return how many predictions a step of sampling ``images`` takes at once: with most guidance those without a prompt too."""
    guidance = family.guidance(guidance_scale)
    return 2 * images if guidance.is_used and guidance.in_one_pass else images


@cache
def _text_encoders(family: ModelFamily, folder: Path, dtype: torch.dtype) -> int:
    names = [name for name in family.text_components if (folder / name / "config.json").is_file()]
    with torch.device("meta"):
        encoders = [family.build_component(name, family.configuration(folder, name)) for name in names]
    return sum(parameter.numel() * dtype.itemsize for encoder in encoders for parameter in encoder.parameters())


@cache
def _denoising(
    dtype: torch.dtype, resolution: int, family: ModelFamily, folder: Path, device: torch.device, predictions: int
) -> int:
    """Return the bytes, besides the denoiser's weights, to make so many ``predictions`` at once."""
    configuration = family.configuration(folder, family.denoiser_component)
    with torch.device("meta"), torch.no_grad():
        denoiser = family.build_component(family.denoiser_component, configuration).to(dtype)
        _choose_attention(family, family.denoiser_component, denoiser, device)
        noisy, conditioning = _inputs(family, configuration, predictions, dtype, resolution)
        with PeakMemoryTracker(device.type) as memory, FusedAttention():
            family.predict(denoiser, noisy, torch.zeros(predictions), conditioning)
    return int(memory.peak)


def _inputs(
    family: ModelFamily, configuration: Mapping[str, Any], images: int, dtype: torch.dtype, resolution: int
) -> tuple[Tensor, Conditioning]:
    noisy, conditioning = family.dummy_inputs(configuration, images, resolution, resolution)
    return noisy.to(dtype), conditioning.to(dtype=dtype)


def _choose_attention(family: ModelFamily, component: str, model: Any, device: torch.device) -> None:
    """Let ``model``, which is on the meta device, compute attention as it is trained on ``device``."""
    if device.type == "cpu":
        family.use_plain_attention(component, model)


def _saved_by_quantizing(recipe: Recipe, model: nn.Module) -> int:
    """Return the bytes by which quantizing makes ``model`` smaller, which has its adapter already."""
    if recipe.quantize == "none":
        return 0
    return round(linear_weights(model) * (DTYPES[recipe.precision].itemsize - BYTES[recipe.quantize]))


def _frozen_bytes(recipe: Recipe, block: nn.Module) -> int:
    frozen = sum(weights.nbytes for weights in block.parameters() if not weights.requires_grad)
    return frozen - _saved_by_quantizing(recipe, block)


def _adapted(recipe: Recipe, family: ModelFamily, folder: Path, dtype: torch.dtype) -> Adapted:
    """Build the adapted components on the meta device, with the adapter attached."""
    components = {}
    for name in adapted_components(recipe, family):
        components[name] = family.build_component(name, family.configuration(folder, name)).requires_grad_(False).to(dtype)
    peft_adapter.attach(components, recipe, family)
    return Adapted(family, components)


def operations_per_second(device: torch.device, dtype: torch.dtype) -> float:
    """Measure the floating-point operations per second of one matrix product."""
    size = 8192 if device.type == "cuda" else 1024
    first, second = torch.ones(size, size, device=device, dtype=dtype), torch.ones(size, size, device=device, dtype=dtype)
    times = []
    for _ in range(4):
        started = time.perf_counter()
        # Reading a value waits for the device.
        float((first @ second)[0, 0])
        times.append(time.perf_counter() - started)
    return 2 * size**3 / min(times)


class _SavedTensors:
    """Sums up the bytes that autograd saves in the forward pass: each storage is counted once, weights are not counted."""

    def __init__(self, model: Any) -> None:
        self.bytes = 0
        self._counted = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
        self._alive: list[Tensor] = []

    def pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._counted:
            self._counted.add(storage._cdata)
            self._alive.append(tensor)
            self.bytes += storage.nbytes()
        return tensor
