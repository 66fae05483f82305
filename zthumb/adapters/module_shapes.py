"""The modules of a base that an adapter can change: their paths and shapes, without their weights."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from foundation.errors import BadInput
from zthumb.checkpoints.clip_keys import TEXT_MODEL, inside_text_model
from zthumb.checkpoints.unet_keys import KOHYA_PREFIXES, to_kohya

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from zthumb.families.base import ModelFamily


@dataclass(frozen=True)
class ModuleShapes:
    """The base called ``name``: weight ``shapes`` of its linear and convolution modules by path, and those of its ``norms``.

    A path begins with the pipeline component, and inside a text encoder with ``text_model.``, as in adapter files. ``weights``
    reads the weight of a module, float32; None if the base's weights are not available.
    """

    name: str
    shapes: Mapping[str, tuple[int, ...]]
    layers_per_block: int
    norms: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    weights: Callable[[str], Tensor] | None = field(default=None, compare=False)

    def shape_of(self, path: str) -> tuple[int, ...]:
        """Return the shape of the weight of a module."""
        return self.shapes[path] if path in self.shapes else self.norms[path]

    def weight(self, path: str) -> Tensor:
        """Return the weight of a module, float32; raise ``BadInput`` if only the base's configuration is available."""
        if self.weights is None:
            raise BadInput(
                f"{self.name}: this adapter's change depends on the base's own weights, and only its configuration is available. "
                "Give a base with weights by --base."
            )
        return self.weights(path)

    def text_width(self, component: str) -> int:
        """Return the width of the token embeddings of the text encoder called ``component``."""
        return next(
            shape[1] for path, shape in self.shapes.items() if path.startswith(f"{component}.") and path.endswith("q_proj")
        )

    @cached_property
    def kohya_names(self) -> Mapping[str, str]:
        """Return the paths by kohya's names, both for the original block names and for diffusers' own, which some programs write.

        Text encoders are also matched without their ``text_model.`` level, which transformers 5 does not have.
        """
        names: dict[str, str] = {}
        for path in (*self.shapes, *self.norms):
            component, module = path.split(".", 1)
            names[KOHYA_PREFIXES[component] + module.replace(".", "_")] = path
            names.setdefault(KOHYA_PREFIXES[component] + module.removeprefix(TEXT_MODEL).replace(".", "_"), path)
            with contextlib.suppress(ValueError):
                names[to_kohya(path, self.layers_per_block)] = path
        return names


def of_parts(name: str, components: Mapping[str, Any], weights: Callable[[str], Tensor] | None = None) -> ModuleShapes:
    """Return the shapes of loaded ``components`` of a pipeline, including the UNet; none may have an adapter injected."""
    from torch import nn

    from zthumb.adapters.hooks import base_weight

    shapes, norms, modules = dict[str, tuple[int, ...]](), dict[str, tuple[int, ...]](), dict[str, Any]()
    for component, model in components.items():
        for module_name, module in model.named_modules():
            path = f"{component}.{to_file_key(component, module_name)}"
            modules[path] = module
            if isinstance(module, nn.Linear):
                # The weight tensor itself has another shape if it is quantized in blocks.
                shapes[path] = (module.out_features, module.in_features)
            elif isinstance(module, nn.Conv2d):
                shapes[path] = tuple(module.weight.shape)
            elif isinstance(module, (nn.GroupNorm, nn.LayerNorm)) and module.weight is not None:
                norms[path] = tuple(module.weight.shape)
    is_loaded = all(parameter.device.type != "meta" for model in components.values() for parameter in model.parameters())
    read_weight = weights or ((lambda path: base_weight(modules[path])) if is_loaded else None)
    return ModuleShapes(name, shapes, components["unet"].config.layers_per_block, norms, read_weight)


def of_folder(name: str, folder: Path, family: ModelFamily) -> ModuleShapes:
    """Return the shapes of the base in ``folder``, from its configuration; a weight is read only when it is needed."""
    import torch

    with torch.device("meta"):
        components = {
            component: family.build_component(component, family.configuration(folder, component))
            for component in family.adapted_components
        }
    has_weights = all(any((folder / component).glob("*.safetensors")) for component in components)
    return of_parts(name, components, (lambda path: _read_weight(folder, path)) if has_weights else None)


def _read_weight(folder: Path, path: str) -> Tensor:
    """Read the weight of one module from the files of its component."""
    from safetensors import safe_open

    component, module = path.split(".", 1)
    names = {f"{module}.weight", f"{module.removeprefix(TEXT_MODEL)}.weight"}
    for file in sorted((folder / component).glob("*.safetensors"), key=lambda file: (file.name.count("."), file.name)):
        with safe_open(file, "pt") as opened:
            if matches := names & set(opened.keys()):
                weight: Tensor = opened.get_tensor(matches.pop())
                return weight.float()
    raise BadInput(f"{folder / component}: has no weight of {module}.")


def to_file_key(component: str, module: str) -> str:
    """Return the path in adapter files of a ``module`` of a loaded ``component``."""
    return module if component == "unet" else inside_text_model(module)
