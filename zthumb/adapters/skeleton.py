"""The modules of a base that an adapter can be for, with their names and shapes and without their weights."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from zthumb.naming.clip import inside_text_model
from zthumb.naming.unet import KOHYA_PREFIXES, to_kohya

if TYPE_CHECKING:
    from pathlib import Path

    from zthumb.families.base import Family


@dataclass(frozen=True)
class Skeleton:
    """The base called ``name``: ``shapes`` of the weights of its linear and convolution modules by path.

    A path begins with the part of the pipeline, and inside a text encoder with ``text_model.``, as adapter files have it.
    """

    name: str
    shapes: Mapping[str, tuple[int, ...]]
    layers_per_block: int

    def text_width(self, part: str) -> int:
        """How long a token's vector is that the text encoder called ``part`` reads."""
        return next(shape[1] for path, shape in self.shapes.items() if path.startswith(f"{part}.") and path.endswith("q_proj"))

    @cached_property
    def kohya_names(self) -> Mapping[str, str]:
        """Kohya's name → path, for the original block names and for diffusers' own, which some programs write."""
        names = {}
        for path in self.shapes:
            part, module = path.split(".", 1)
            names[KOHYA_PREFIXES[part] + module.replace(".", "_")] = path
            with contextlib.suppress(ValueError):
                names[to_kohya(path, self.layers_per_block)] = path
        return names


def of_parts(name: str, parts: Mapping[str, Any]) -> Skeleton:
    """The skeleton of loaded ``parts`` of a pipeline, the UNet among them; none may have an adapter on."""
    from torch import nn

    shapes = dict[str, tuple[int, ...]]()
    for part, whole in parts.items():
        for module_name, module in whole.named_modules():
            if isinstance(module, nn.Linear):
                # A weight in blocks of few bits has another shape.
                shapes[f"{part}.{as_in_files(part, module_name)}"] = (module.out_features, module.in_features)
            elif isinstance(module, nn.Conv2d):
                shapes[f"{part}.{as_in_files(part, module_name)}"] = tuple(module.weight.shape)
    return Skeleton(name, shapes, parts["unet"].config.layers_per_block)


def of_folder(name: str, folder: Path, family: Family) -> Skeleton:
    """The skeleton of the base in ``folder``, read from its configuration alone."""
    import torch

    with torch.device("meta"):
        parts = {part: family.empty_part(part, family.configuration(folder, part)) for part in family.adapted_parts}
    return of_parts(name, parts)


def as_in_files(part: str, module: str) -> str:
    """The path of a module of a loaded ``part`` as adapter files have it."""
    return module if part == "unet" else inside_text_model(module)
