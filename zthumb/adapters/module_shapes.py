"""The modules of a base that an adapter can change: their paths and shapes, without their weights."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from foundation.errors import BadInput
from zthumb.checkpoints.checkpoint_key import CheckpointKey, names_by_key
from zthumb.checkpoints.clip_keys import TEXT_MODEL

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from zthumb.families.base import ModelFamily


class Place(NamedTuple):
    """A module of the base, and which rows of what a file has under one name are its own."""

    path: str
    key: CheckpointKey


Places = Mapping[str, tuple[Place, ...]]
"""Name in files → the modules of the base that are stored under it, from its first row to its last."""


@dataclass(frozen=True)
class ModuleShapes:
    """The base called ``name``: weight ``shapes`` of its linear and convolution modules by path, and those of its ``norms``.

    A path begins with the pipeline component, and inside a text encoder with ``text_model.``, as in adapter files.
    ``denoiser_config`` is the denoiser's configuration. ``weights`` reads the weight of a module, float32; None if the base's are
    not available.
    """

    name: str
    shapes: Mapping[str, tuple[int, ...]]
    family: ModelFamily
    denoiser_config: Mapping[str, Any]
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
    def kohya_names(self) -> Places:
        """Return the modules by kohya's names, for the family's own names and for diffusers', which some programs write.

        Text encoders are also matched without their ``text_model.`` level, which transformers 5 does not have.
        """
        names: dict[str, tuple[Place, ...]] = {}
        keys = dict[str, CheckpointKey]()
        for path in (*self.shapes, *self.norms):
            component, module = path.split(".", 1)
            prefix = self.family.lora_prefixes[component]
            for written in (module, module.removeprefix(TEXT_MODEL)):
                name = prefix + written.replace(".", "_")
                names.setdefault(name, (Place(path, CheckpointKey(name)),))
            with contextlib.suppress(ValueError):
                keys[path] = self.family.lora_key(path, self.denoiser_config)
        return {**names, **_places(keys)}

    @cached_property
    def original_names(self) -> Places:
        """Return the denoiser's modules by their names in published checkpoints, with underscores."""
        keys, component = dict[str, CheckpointKey](), f"{self.family.denoiser_component}."
        for path in (*self.shapes, *self.norms):
            if path.startswith(component):
                with contextlib.suppress(ValueError):
                    key = self.family.original_key(path.removeprefix(component), self.denoiser_config)
                    keys[path] = replace(key, name=key.name.replace(".", "_"))
        return _places(keys)


def _places(keys: Mapping[str, CheckpointKey]) -> dict[str, tuple[Place, ...]]:
    return {name: tuple(Place(path, keys[path]) for path in paths) for name, paths in names_by_key(keys).items()}


def of_components(
    name: str, components: Mapping[str, Any], family: ModelFamily, weights: Callable[[str], Tensor] | None = None
) -> ModuleShapes:
    """Return the shapes of loaded ``components`` of a pipeline, the denoiser among them; none may have an adapter injected."""
    from torch import nn

    from zthumb.adapters.hooks import base_weight

    shapes, norms, modules = dict[str, tuple[int, ...]](), dict[str, tuple[int, ...]](), dict[str, Any]()
    for component, model in components.items():
        for module_name, module in model.named_modules():
            path = f"{component}.{family.file_path(component, module_name)}"
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
    return ModuleShapes(name, shapes, family, components[family.denoiser_component].config, norms, read_weight)


def of_folder(name: str, folder: Path, family: ModelFamily) -> ModuleShapes:
    """Return the shapes of the base in ``folder``, from its configuration; a weight is read only when it is needed."""
    import torch

    with torch.device("meta"):
        components = {
            component: family.build_component(component, family.configuration(folder, component))
            for component in family.adapted_components
        }
    has_weights = all(any((folder / component).glob("*.safetensors")) for component in components)
    return of_components(name, components, family, (lambda path: _read_weight(folder, path)) if has_weights else None)


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
