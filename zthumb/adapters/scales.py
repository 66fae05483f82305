"""The factor that the product of a module's matrices is multiplied by, where the file has no alpha tensors.

It is then in the header (``lora_adapter_metadata``, diffusers) or in ``adapter_config.json`` next to the file (PEFT).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field, FiniteFloat, PositiveInt, ValidationError

from foundation.errors import BadInput
from zthumb.adapters.adapter import Layer
from zthumb.adapters.module_shapes import ModuleShapes
from zthumb.adapters.peft_patterns import Patterns
from zthumb.checkpoints.header import PEFT_FILE, Header

if TYPE_CHECKING:
    from torch import Tensor

    from zthumb.families.base import ModelFamily

_CONFIG_FILE, _METADATA_KEY = "adapter_config.json", "lora_adapter_metadata"
_BASE_UNCHANGED = (None, True, False, "gaussian", "default", "orthogonal", "eva")
"""Values of ``init_lora_weights`` that leave the base's weights as they are."""

_KINDS = {"LORA": None, "LOHA": "loha", "LOKR": "lokr", "IA3": None}
_FIRST_FACTORS = {"loha": ("hada_w1_a",), "lokr": ("lokr_w1", "lokr_w1_a")}


class _PeftConfig(BaseModel):
    """The keys of a PEFT configuration that matter here; the others are for training."""

    peft_type: str = "LORA"
    r: PositiveInt | None = None
    alpha: FiniteFloat | None = None
    lora_alpha: FiniteFloat | None = None
    rank_pattern: Mapping[str, PositiveInt] | None = None
    alpha_pattern: Mapping[str, FiniteFloat] | None = None
    use_rslora: bool = False
    init_lora_weights: bool | str | None = None


class Scales(BaseModel):
    """The PEFT configurations of an adapter file by pipeline component."""

    file: Path
    components: Mapping[str, _PeftConfig] = Field(default_factory=dict)

    @cached_property
    def _alphas(self) -> Mapping[str, Patterns]:
        return {component: Patterns(config.alpha_pattern or {}, str(self.file)) for component, config in self.components.items()}

    @cached_property
    def _ranks(self) -> Mapping[str, Patterns]:
        return {component: Patterns(config.rank_pattern or {}, str(self.file)) for component, config in self.components.items()}

    def scale_of(self, module: str, rank: int) -> float:
        """Return the scale of a LoRA of ``rank`` for ``module``; 1 if the configuration has no alpha for it."""
        config, component, path = self._config_of(module)
        alpha = None if config is None else self._alphas[component].value_for(path, config.lora_alpha)
        if config is None or alpha is None:
            return 1.0
        return float(alpha) / (rank**0.5 if config.use_rslora else rank)

    def fold_scale(self, module: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the ``tensors`` of a module of PEFT's LoHa or LoKr with the configured scale folded in; others unchanged."""
        config, component, path = self._config_of(module)
        kind = None if config is None else _KINDS.get(config.peft_type)
        if config is None or kind is None or "alpha" in tensors:
            return tensors
        alpha = self._alphas[component].value_for(path, config.alpha)
        rank = self._ranks[component].value_for(path, config.r)
        scale = 1.0 if alpha is None or rank is None else float(alpha) / float(rank)
        first = next((name for name in _FIRST_FACTORS[kind] if name in tensors), None)
        return tensors if first is None else {**tensors, first: tensors[first] * scale}

    def subtract_initialization(self, module: str, layer: Layer, base: ModuleShapes) -> Layer:
        """Return ``layer`` minus its initial factors, if its configuration says that those were taken out of the base's weight.

        PiSSA (arXiv 2404.02948) and OLoRA (arXiv 2406.01775) subtract them from the base. Raises ``BadInput`` for an
        initialization that cannot be computed from what the file contains.
        """
        config, _, _ = self._config_of(module)
        initialization = None if config is None else config.init_lora_weights
        if initialization in _BASE_UNCHANGED:
            return layer
        name = str(initialization)
        if not name.startswith(("pissa", "olora")):
            raise BadInput(
                f"{self.file}: init_lora_weights: {name} also changes the base, in a way that the file does not record. Export "
                "it as a plain LoRA with PEFT's save_pretrained(…, path_initial_model_for_weight_conversion=…)."
            )
        import torch

        up, down = _initial_factors(base.weight(module), layer, name)
        trained_up, trained_down = layer.factors
        difference = layer.with_factors(torch.cat([trained_up, -up], dim=1), torch.cat([trained_down, down], dim=0))
        return replace(difference, has_base_subtracted=True)

    def _config_of(self, module: str) -> tuple[_PeftConfig | None, str, str]:
        component, path = module.split(".", 1)
        return self.components.get(component), component, path


def _initial_factors(weight: Tensor, layer: Layer, initialization: str) -> tuple[Tensor, Tensor]:
    """Return what PiSSA or OLoRA subtract from the base before training, as factors (out, rank) and (rank, in)."""
    import torch

    flat, rank = weight.flatten(1), layer.rank
    if initialization.startswith("olora"):
        left, right = torch.linalg.qr(flat)
        # PiSSA divides its factors by the scale, so that it subtracts its components whatever the scale is; OLoRA does not.
        return left[:, :rank] * layer.scale, right[:rank]
    left, values, right = torch.linalg.svd(flat, full_matrices=False)
    return left[:, :rank] * values[:rank], right[:rank]


def config_file_of(file: Path) -> Path | None:
    """Return the file with the scales of the adapter in ``file``, if that is in a PEFT folder; None if there is none."""
    config_file = file.with_name(_CONFIG_FILE)
    return config_file if file.name == PEFT_FILE and config_file.is_file() else None


def read_scales(header: Header, family: ModelFamily) -> Scales:
    """Return the scales recorded with the file of ``header``, for a base of ``family``; raise ``BadInput`` for invalid ones."""
    if config_file := config_file_of(header.file):
        return _validate(config_file, {family.denoiser_component: _parse_object(config_file, config_file.read_bytes())})
    components: dict[str, dict[str, Any]] = defaultdict(dict)
    for key, value in _parse_object(header.file, header.metadata.get(_METADATA_KEY, "{}").encode()).items():
        component, _, name = key.partition(".")
        # diffusers omits the component in files of only a denoiser.
        if component in family.adapted_components and name:
            components[component][name] = value
        else:
            components[family.denoiser_component][key] = value
    return _validate(header.file, components)


def _validate(file: Path, components: Mapping[str, Mapping[str, Any]]) -> Scales:
    try:
        scales = Scales.model_validate({"file": file, "components": components})
    except ValidationError as error:
        fault = error.errors()[0]
        raise BadInput(f"{file}: invalid {'.'.join(map(str, fault['loc'][2:3]))}: {fault['msg']}.") from None
    for config in scales.components.values():
        if config.peft_type not in _KINDS:
            raise BadInput(
                f"{file}: peft_type {config.peft_type[:40]!r} is not supported; the supported types are {', '.join(_KINDS)}."
            )
    return scales


def _parse_object(file: Path, text: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict):
        raise BadInput(f"{file}: its adapter configuration is not a JSON object.")
    return parsed
