"""A base of full size with random weights: its shapes, its flow and its memory, with nothing downloaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundation.files import read_json
from zthumb.families.shared import dummy_tokenizers

if TYPE_CHECKING:
    import torch
    from torch import nn

    from zthumb.families.base import ModelFamily

INDEX = "model_index.json"
_DEVIATION = 0.02


def load(family: ModelFamily, folder: Path, dtype: torch.dtype, device: torch.device) -> Any:
    """Return the pipeline of the configurations in ``folder``, with random weights of ``dtype`` on ``device``.

    Its tokenizers know bytes alone. The same configuration gives the same weights on the same device.
    """
    import diffusers

    components = {
        name: _component(family, name, kind, folder, dtype, device) for name, kind in _kinds(folder) if name in family.components
    }
    scheduler_kind = dict(_kinds(folder))["scheduler"]
    scheduler = getattr(diffusers, scheduler_kind).from_config(read_json(folder / "scheduler" / "scheduler_config.json"))
    pipeline = getattr(diffusers, family.pipeline_class)(**{**family.pipeline_options, **components}, scheduler=scheduler)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def parameters(family: ModelFamily, folder: Path) -> Mapping[str, Mapping[str, int]]:
    """Return by component with weights how many numbers its linear layers have, and how many all else."""
    import torch

    counts = {}
    for name, _ in _kinds(folder):
        if name in family.components and (folder / name / "config.json").is_file():
            with torch.device("meta"):
                model = family.build_component(name, family.configuration(folder, name))
            linear = sum(module.weight.numel() for module in model.modules() if isinstance(module, torch.nn.Linear))
            counts[name] = {"linear": linear, "others": sum(weights.numel() for weights in model.parameters()) - linear}
    return counts


def count(family: ModelFamily, folder: Path) -> int:
    """Return how many numbers all weights of the base in ``folder`` are, by its configuration."""
    return sum(sum(counts.values()) for counts in parameters(family, folder).values())


def _kinds(folder: Path) -> Iterator[tuple[str, str]]:
    """Each component of the index in ``folder`` with the class that it names."""
    for name, value in read_json(folder / INDEX).items():
        if isinstance(value, list) and value[1]:
            yield name, str(value[1])


def _component(family: ModelFamily, name: str, kind: str, folder: Path, dtype: torch.dtype, device: torch.device) -> Any:
    import torch

    if name.startswith("tokenizer"):
        return dummy_tokenizers.build(kind)
    model = without_weights(family, name, folder)
    generator = torch.Generator(device).manual_seed(0)
    for module in model.modules():
        _fill(module, dtype, device, generator)
    return model.to(device).eval().requires_grad_(False)


def without_weights(family: ModelFamily, name: str, folder: Path) -> Any:
    """Return a component whose parameters are on the meta device.

    Buffers that are computed and not loaded, such as frequencies of positions, have their true values.
    """
    from accelerate import init_empty_weights

    with init_empty_weights(include_buffers=False):
        return family.build_component(name, family.configuration(folder, name)).eval().requires_grad_(False)


def _fill(module: nn.Module, dtype: torch.dtype, device: torch.device, generator: torch.Generator) -> None:
    """Give the own parameters of ``module`` values at which no image is out of range: norms of one, small matrices, no biases."""
    import torch
    from torch import nn

    for name, parameter in list(module.named_parameters(recurse=False)):
        values = torch.empty(parameter.shape, dtype=dtype, device=device)
        if parameter.ndim > 1:
            values.normal_(std=_DEVIATION, generator=generator)
        else:
            values.fill_(0.0 if name == "bias" else 1.0)
        module.register_parameter(name, nn.Parameter(values, requires_grad=False))
    for name, buffer in list(module.named_buffers(recurse=False)):
        if buffer.is_meta:
            module.register_buffer(name, torch.zeros(buffer.shape, dtype=buffer.dtype, device=device))
