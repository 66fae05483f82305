"""The modules of a base that an adapter can be for, with their names and shapes and without their weights."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from foundation.errors import BadInput
from zthumb.naming.clip import TEXT_MODEL, inside_text_model
from zthumb.naming.unet import KOHYA_PREFIXES, to_kohya

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from zthumb.families.base import Family


@dataclass(frozen=True)
class ModuleShapes:
    """The base called ``name``: ``shapes`` of the weights of its linear and convolution modules by path, ``norms`` of its norms'.

    A path begins with the part of the pipeline, and inside a text encoder with ``text_model.``, as adapter files have it.
    ``weights`` reads the weight of a module, float32, where the base's weights are there.
    """

    name: str
    shapes: Mapping[str, tuple[int, ...]]
    layers_per_block: int
    norms: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    weights: Callable[[str], Tensor] | None = field(default=None, compare=False)

    def shape_of(self, path: str) -> tuple[int, ...]:
        """The shape of the weight of a module."""
        return self.shapes[path] if path in self.shapes else self.norms[path]

    def weight(self, path: str) -> Tensor:
        """The weight of a module, float32; ``BadInput`` where only the base's configuration is there."""
        if self.weights is None:
            raise BadInput(
                f"{self.name}: what this adapter changes depends on the base's own weights, and only its configuration is here. "
                "Name a base that is here with --base."
            )
        return self.weights(path)

    def text_width(self, part: str) -> int:
        """How long a token's vector is that the text encoder called ``part`` reads."""
        return next(shape[1] for path, shape in self.shapes.items() if path.startswith(f"{part}.") and path.endswith("q_proj"))

    @cached_property
    def kohya_names(self) -> Mapping[str, str]:
        """Kohya's name → path, for the original block names and for diffusers' own, which some programs write.

        Text encoders are also found without their ``text_model.`` level, which transformers 5 has not.
        """
        names: dict[str, str] = {}
        for path in (*self.shapes, *self.norms):
            part, module = path.split(".", 1)
            names[KOHYA_PREFIXES[part] + module.replace(".", "_")] = path
            names.setdefault(KOHYA_PREFIXES[part] + module.removeprefix(TEXT_MODEL).replace(".", "_"), path)
            with contextlib.suppress(ValueError):
                names[to_kohya(path, self.layers_per_block)] = path
        return names


def of_parts(name: str, parts: Mapping[str, Any], weights: Callable[[str], Tensor] | None = None) -> ModuleShapes:
    """The skeleton of loaded ``parts`` of a pipeline, the UNet among them; none may have an adapter on."""
    from torch import nn

    from zthumb.adapters.hooks import base_weight

    shapes, norms, modules = dict[str, tuple[int, ...]](), dict[str, tuple[int, ...]](), dict[str, Any]()
    for part, whole in parts.items():
        for module_name, module in whole.named_modules():
            path = f"{part}.{to_file_key(part, module_name)}"
            modules[path] = module
            if isinstance(module, nn.Linear):
                # A weight in blocks of few bits has another shape.
                shapes[path] = (module.out_features, module.in_features)
            elif isinstance(module, nn.Conv2d):
                shapes[path] = tuple(module.weight.shape)
            elif isinstance(module, (nn.GroupNorm, nn.LayerNorm)) and module.weight is not None:
                norms[path] = tuple(module.weight.shape)
    is_loaded = all(parameter.device.type != "meta" for part in parts.values() for parameter in part.parameters())
    read = weights or ((lambda path: base_weight(modules[path])) if is_loaded else None)
    return ModuleShapes(name, shapes, parts["unet"].config.layers_per_block, norms, read)


def of_folder(name: str, folder: Path, family: Family) -> ModuleShapes:
    """The skeleton of the base in ``folder``, read from its configuration; a weight is read when it is asked for."""
    import torch

    with torch.device("meta"):
        parts = {part: family.build_component(part, family.configuration(folder, part)) for part in family.adapted_components}
    has_weights = all(any((folder / part).glob("*.safetensors")) for part in parts)
    return of_parts(name, parts, (lambda path: _read_weight(folder, path)) if has_weights else None)


def _read_weight(folder: Path, path: str) -> Tensor:
    """The weight of one module out of the files of its part."""
    from safetensors import safe_open

    part, module = path.split(".", 1)
    names = {f"{module}.weight", f"{module.removeprefix(TEXT_MODEL)}.weight"}
    for file in sorted((folder / part).glob("*.safetensors"), key=lambda each: (each.name.count("."), each.name)):
        with safe_open(file, "pt") as opened:
            if found := names & set(opened.keys()):
                weight: Tensor = opened.get_tensor(found.pop())
                return weight.float()
    raise BadInput(f"{folder / part}: has no weight of {module}.")


def to_file_key(part: str, module: str) -> str:
    """The path of a module of a loaded ``part`` as adapter files have it."""
    return module if part == "unet" else inside_text_model(module)
