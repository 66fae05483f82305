"""Estimate the memory that generating takes, of any base and before its weights are there: one image on the meta device.

Weights are counted exactly. What a text encoder, a prediction and decoding allocate besides them is counted tensor by tensor,
with the longest prompt there can be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch

from foundation.files import read_json
from zthumb.memory.block_swap import WINDOW, blocks_of, spread
from zthumb.memory.fused_attention import FusedAttention
from zthumb.memory.peak_memory import PeakMemoryTracker
from zthumb.memory.quantize import BYTES, Quantization, quantized_layers, writes_out_weights

if TYPE_CHECKING:
    from zthumb.families.base import ModelFamily


Swapped = Mapping[str, int]
"""How many blocks of each component are swapped."""
NO_BLOCKS: Swapped = MappingProxyType({})


@dataclass(frozen=True)
class ImageShape:
    """What the memory of an image depends on: its size in pixels, how many there are at once, and guidance.

    Images larger than ``tile`` pixels are decoded in tiles of that edge, one image at a time.
    """

    height: int
    width: int
    images: int = 1
    guidance_scale: float | None = None
    tile: int | None = None


@dataclass(frozen=True)
class Estimate:
    """Bytes of each component's weights while it works, and what it allocates besides them.

    ``kept`` are the weights as they wait for their turn: an autoencoder that computes in fp32 may wait in half of it. ``blocks``
    are the weights of each block that can be swapped. The components of each of ``phases`` work together: text encoders,
    denoiser, autoencoder.
    """

    weights: Mapping[str, int]
    kept: Mapping[str, int]
    activations: Mapping[str, int]
    blocks: Mapping[str, Sequence[int]]
    phases: Sequence[Sequence[str]]

    @property
    def resident_peak(self) -> int:
        """The most bytes that are allocated at once if all components stay on the device."""
        return sum(self.weights.values()) + max(self.activations.values())

    def offloaded_peak(self, swapped: Swapped = NO_BLOCKS, window: int = WINDOW) -> int:
        """Return the most bytes that are allocated at once if only the components that work are on the device.

        Of those with ``swapped`` blocks, at most ``window`` of them are there at once.
        """
        return max(self._phase_peak(phase, swapped, window) for phase in self.phases)

    def blocks_to_swap(self, budget: int, window: int = WINDOW) -> Swapped:
        """Return by component the fewest blocks with which every phase is within ``budget``; all of a phase that cannot be."""
        swapped = dict[str, int]()
        for phase in self.phases:
            for name in sorted(phase, key=lambda name: self.weights[name], reverse=True):
                while self._phase_peak(phase, swapped, window) > budget and swapped.get(name, 0) < len(self.blocks[name]):
                    swapped[name] = swapped.get(name, 0) + 1
        return swapped

    def swapped_bytes(self, name: str, count: int) -> int:
        """Return the bytes of ``count`` swapped blocks of a component, which each of its forward passes moves."""
        return sum(self._chosen(name, count))

    def _phase_peak(self, phase: Sequence[str], swapped: Swapped, window: int) -> int:
        weights = sum(self.weights[name] - self._absent(name, swapped.get(name, 0), window) for name in phase)
        return weights + max(self.activations[name] for name in phase)

    def _absent(self, name: str, count: int, window: int) -> int:
        """Bytes of the blocks that are not there even while a component works."""
        return sum(sorted(self._chosen(name, count), reverse=True)[window:])

    def _chosen(self, name: str, count: int) -> list[int]:
        return [self.blocks[name][index] for index in spread(len(self.blocks[name]), count)]

    @property
    def total(self) -> int:
        """Bytes of all weights as they wait."""
        return sum(self.kept.values())


def estimate(
    family: ModelFamily,
    folder: Path,
    shape: ImageShape,
    dtype: torch.dtype,
    quantization: Quantization = "none",
    denoiser_bytes: int | None = None,
    device_type: str = "cuda",
) -> Estimate:
    """Estimate generating with the base whose configuration is in ``folder``; its weights are not read and need not be there.

    ``denoiser_bytes`` are those of a denoiser from a GGUF file, ``device_type`` is torch's type of the device.
    """
    names = [name for name in family.components if (folder / name / "config.json").is_file()]
    guidance = family.guidance(family.limits.default_guidance_scale if shape.guidance_scale is None else shape.guidance_scale)
    predictions = shape.images * (2 if guidance.is_used and guidance.in_one_pass else 1)
    weights, kept, activations, blocks = dict[str, int](), dict[str, int](), dict[str, int](), dict[str, list[int]]()
    for name in names:
        is_coder = name in family.image_components
        working = torch.float32 if is_coder and family.decodes_in_full_precision else dtype
        is_quantized = name == family.denoiser_component and quantization != "none"
        counts = _counts(family, folder, name, quantization if is_quantized else "none")
        per_weight = BYTES[quantization] if is_quantized else working.itemsize
        weights[name] = round(counts.quantized * per_weight) + counts.others * working.itemsize
        kept[name] = weights[name] if is_quantized else counts.total * dtype.itemsize
        blocks[name] = [round(quantized * per_weight) + others * working.itemsize for quantized, others in counts.blocks]
        if name == family.denoiser_component and denoiser_bytes is not None:
            # A file has few bits everywhere.
            blocks[name] = [size * denoiser_bytes // weights[name] for size in blocks[name]]
            weights[name] = kept[name] = denoiser_bytes
        if is_coder:
            activations[name] = _decoding(family, folder, name, _tiled(shape), working, device_type)
        elif name == family.denoiser_component:
            # A weight that is quantized alone is written out in the precision of its product.
            is_written_out = (is_quantized and writes_out_weights(quantization)) or denoiser_bytes is not None
            written_out = counts.largest * dtype.itemsize if is_written_out else 0
            activations[name] = written_out + _denoising(
                family, folder, shape.height, shape.width, predictions, dtype, device_type
            )
        else:
            activations[name] = _encoding(family, folder, name, dtype, device_type)
    roles = (family.text_components, [family.denoiser_component], family.image_components)
    phases = [[name for name in role if name in weights] for role in roles]
    return Estimate(weights, kept, activations, blocks, [phase for phase in phases if phase])


@dataclass(frozen=True)
class _Counts:
    """How many numbers the quantized weights of a component are, the largest of them, and all else; also those of each block."""

    quantized: int
    largest: int
    others: int
    blocks: tuple[tuple[int, int], ...]

    @property
    def total(self) -> int:
        return self.quantized + self.others


@cache
def _counts(family: ModelFamily, folder: Path, name: str, quantization: Quantization) -> _Counts:
    model = _build(family, folder, name, torch.float32)
    layers = [] if quantization == "none" else [layer.weight for layer in quantized_layers(model, quantization).values()]
    quantized = {weight: weight.numel() for weight in layers}

    def count(part: torch.nn.Module) -> tuple[int, int]:
        total, few_bits = 0, 0
        for parameter in part.parameters():
            total += parameter.numel()
            few_bits += quantized.get(parameter, 0)
        return few_bits, total - few_bits

    # An autoencoder decodes in one pass, in which its activations are most of the memory.
    blocks = () if name in family.image_components else tuple(count(block) for block in blocks_of(model))
    few_bits, others = count(model)
    return _Counts(few_bits, max(quantized.values(), default=0), others, blocks)


@cache
def _encoding(family: ModelFamily, folder: Path, name: str, dtype: torch.dtype, device_type: str) -> int:
    model = _build(family, folder, name, dtype)
    config = model.config.get_text_config() if hasattr(model.config, "get_text_config") else model.config
    length = min(longest_prompt(family, folder), getattr(config, "max_position_embeddings", 2**31))
    with torch.device("meta"), torch.no_grad(), PeakMemoryTracker(device_type) as memory, FusedAttention():
        model(input_ids=torch.zeros(1, length, dtype=torch.int64), output_hidden_states=True)
    return int(memory.peak)


@cache
def _denoising(
    family: ModelFamily, folder: Path, height: int, width: int, predictions: int, dtype: torch.dtype, device_type: str
) -> int:
    denoiser = _build(family, folder, family.denoiser_component, dtype)
    configuration = family.configuration(folder, family.denoiser_component)
    with torch.device("meta"), torch.no_grad(), PeakMemoryTracker(device_type) as memory, FusedAttention():
        noisy, conditioning = family.dummy_inputs(configuration, predictions, height, width, longest_prompt(family, folder))
        family.predict(denoiser, noisy.to(dtype), torch.zeros(predictions), conditioning.to(dtype=dtype))
    return int(memory.peak)


@cache
def _decoding(family: ModelFamily, folder: Path, name: str, size: tuple[int, int], dtype: torch.dtype, device_type: str) -> int:
    autoencoder = _build(family, folder, name, dtype)
    with torch.device("meta"), torch.no_grad(), PeakMemoryTracker(device_type) as memory, FusedAttention():
        family.decode_dummy(autoencoder, 1, *size)
    return int(memory.peak)


@cache
def longest_prompt(family: ModelFamily, folder: Path) -> int:
    """Return the tokens of the longest prompt that the denoiser is given: the family's, or fewer if a tokenizer says so."""
    with torch.device("meta"):
        configuration = family.configuration(folder, family.denoiser_component)
        _, conditioning = family.dummy_inputs(configuration, 1, 8 * family.size_multiple, 8 * family.size_multiple)
    lengths = [max(tensor.shape[0] for tensor in tensors) for tensors in conditioning.tensors.values() if tensors[0].ndim == 2]
    tokenizers = sorted(folder.glob("tokenizer*/tokenizer_config.json"))
    known = read_json(tokenizers[-1]).get("model_max_length") if tokenizers else None
    return int(min(max(lengths), known or max(lengths)))


def _tiled(shape: ImageShape) -> tuple[int, int]:
    """The height and width that are decoded at once."""
    tile = shape.tile or max(shape.height, shape.width)
    return min(shape.height, tile), min(shape.width, tile)


def _build(family: ModelFamily, folder: Path, name: str, dtype: torch.dtype) -> Any:
    with torch.device("meta"):
        model = family.build_component(name, family.configuration(folder, name)).eval()
    # As a pipeline casts it, and without diffusers' own ``to``, which warns of nothing.
    return torch.nn.Module.to(model, dtype)
