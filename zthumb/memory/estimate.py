"""Estimate the memory that generating takes, of any base and before its weights are there: one image on the meta device.

Weights are counted exactly. What a text encoder, a prediction and decoding allocate besides them is counted tensor by tensor,
with the longest prompt there can be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from foundation.files import read_json
from zthumb.memory.fused_attention import FusedAttention
from zthumb.memory.peak_memory import PeakMemoryTracker
from zthumb.memory.quantize import BYTES, Quantization
from zthumb.memory.usage import bytes_in_another_precision

if TYPE_CHECKING:
    from zthumb.families.base import ModelFamily


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

    ``kept`` are the weights as they wait for their turn: an autoencoder that computes in fp32 may wait in half of it. ``reading``
    are weights in a file's own precision beside them while they are read. The components of each of ``phases`` work together:
    text encoders, denoiser, autoencoder.
    """

    weights: Mapping[str, int]
    kept: Mapping[str, int]
    activations: Mapping[str, int]
    reading: Mapping[str, int]
    phases: Sequence[Sequence[str]]

    @property
    def resident_peak(self) -> int:
        """The most bytes that are allocated at once if all components stay on the device."""
        return sum(self.weights.values()) + max(self.activations.values())

    @property
    def offloaded_peak(self) -> int:
        """The most bytes that are allocated at once if only the components that work are on the device."""
        return self._largest_phase(self.activations)

    @property
    def read_again_peak(self) -> int:
        """The same if their weights are read from files each time."""
        return max(self._largest_phase(self.activations), self._largest_phase(self.reading))

    def _largest_phase(self, others: Mapping[str, int]) -> int:
        return max(sum(self.weights[name] for name in phase) + max(others[name] for name in phase) for phase in self.phases)

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
) -> Estimate:
    """Estimate generating with the base whose configuration is in ``folder``; its weights are not read and need not be there.

    ``denoiser_bytes`` are those of a denoiser from a GGUF file.
    """
    names = [name for name in family.components if (folder / name / "config.json").is_file()]
    guidance = family.guidance(family.limits.default_guidance_scale if shape.guidance_scale is None else shape.guidance_scale)
    predictions = shape.images * (2 if guidance.is_used and guidance.in_one_pass else 1)
    weights, kept, activations = dict[str, int](), dict[str, int](), dict[str, int]()
    for name in names:
        is_coder = name in family.image_components
        working = torch.float32 if is_coder and family.decodes_in_full_precision else dtype
        counts = _counts(family, folder, name)
        is_quantized = name == family.denoiser_component and quantization != "none"
        per_linear = BYTES[quantization] if is_quantized else working.itemsize
        weights[name] = round(counts.linear * per_linear) + counts.others * working.itemsize
        kept[name] = weights[name] if is_quantized else counts.total * dtype.itemsize
        if name == family.denoiser_component and denoiser_bytes is not None:
            weights[name] = kept[name] = denoiser_bytes
        if is_coder:
            activations[name] = _decoding(family, folder, name, _tiled(shape), working)
        elif name == family.denoiser_component:
            # A weight that is quantized alone is written out in the precision of its product.
            is_written_out = (is_quantized and quantization.endswith("wo")) or denoiser_bytes is not None
            written_out = counts.largest * dtype.itemsize if is_written_out else 0
            activations[name] = written_out + _denoising(family, folder, shape.height, shape.width, predictions, dtype)
        else:
            activations[name] = _encoding(family, folder, name, dtype)
    roles = (family.text_components, [family.denoiser_component], family.image_components)
    phases = [[name for name in role if name in weights] for role in roles]
    reading = {name: bytes_in_another_precision(folder / name, dtype) for name in names}
    return Estimate(weights, kept, activations, reading, [phase for phase in phases if phase])


@dataclass(frozen=True)
class _Counts:
    """How many numbers the linear weights of a component are, the largest of them, and all else."""

    linear: int
    largest: int
    others: int

    @property
    def total(self) -> int:
        return self.linear + self.others


@cache
def _counts(family: ModelFamily, folder: Path, name: str) -> _Counts:
    model = _build(family, folder, name, torch.float32)
    linear = [module.weight.numel() for module in model.modules() if isinstance(module, torch.nn.Linear)]
    total = sum(parameter.numel() for parameter in model.parameters())
    return _Counts(sum(linear), max(linear, default=0), total - sum(linear))


@cache
def _encoding(family: ModelFamily, folder: Path, name: str, dtype: torch.dtype) -> int:
    model = _build(family, folder, name, dtype)
    config = model.config.get_text_config() if hasattr(model.config, "get_text_config") else model.config
    length = min(longest_prompt(family, folder), getattr(config, "max_position_embeddings", 2**31))
    with torch.device("meta"), torch.no_grad(), PeakMemoryTracker() as memory, FusedAttention():
        model(input_ids=torch.zeros(1, length, dtype=torch.int64), output_hidden_states=True)
    return int(memory.peak)


@cache
def _denoising(family: ModelFamily, folder: Path, height: int, width: int, predictions: int, dtype: torch.dtype) -> int:
    denoiser = _build(family, folder, family.denoiser_component, dtype)
    configuration = family.configuration(folder, family.denoiser_component)
    with torch.device("meta"), torch.no_grad(), PeakMemoryTracker() as memory, FusedAttention():
        noisy, conditioning = family.dummy_inputs(configuration, predictions, height, width, longest_prompt(family, folder))
        family.predict(denoiser, noisy.to(dtype), torch.zeros(predictions), conditioning.to(dtype=dtype))
    return int(memory.peak)


@cache
def _decoding(family: ModelFamily, folder: Path, name: str, size: tuple[int, int], dtype: torch.dtype) -> int:
    autoencoder = _build(family, folder, name, dtype)
    with torch.device("meta"), torch.no_grad(), PeakMemoryTracker() as memory, FusedAttention():
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
