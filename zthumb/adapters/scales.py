"""What the product of a module's factors is multiplied by, where the file has no alpha beside them.

It then stands in the header (``lora_adapter_metadata``, diffusers) or in ``adapter_config.json`` beside the file (PEFT).
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
from zthumb.adapters.header import PEFT_FILE, Header
from zthumb.adapters.module_shapes import ModuleShapes
from zthumb.adapters.patterns import Patterns

if TYPE_CHECKING:
    from torch import Tensor

_CONFIGURATION, _METADATA = "adapter_config.json", "lora_adapter_metadata"
_PARTS = ("unet", "text_encoder", "text_encoder_2")
_UNTOUCHED = (None, True, False, "gaussian", "default", "orthogonal", "eva")
"""Ways to begin that leave the base as it is."""

_KINDS = {"LORA": None, "LOHA": "loha", "LOKR": "lokr", "IA3": None}
_FIRST_FACTORS = {"loha": ("hada_w1_a",), "lokr": ("lokr_w1", "lokr_w1_a")}


class _Told(BaseModel):
    """What is read of a configuration; the rest of it is for training."""

    peft_type: str = "LORA"
    r: PositiveInt | None = None
    alpha: FiniteFloat | None = None
    lora_alpha: FiniteFloat | None = None
    rank_pattern: Mapping[str, PositiveInt] | None = None
    alpha_pattern: Mapping[str, FiniteFloat] | None = None
    use_rslora: bool = False
    init_lora_weights: bool | str | None = None


class Scales(BaseModel):
    """The configurations of an adapter file by part of the pipeline."""

    file: Path
    parts: Mapping[str, _Told] = Field(default_factory=dict)

    @cached_property
    def _alphas(self) -> Mapping[str, Patterns]:
        return {part: Patterns(told.alpha_pattern or {}, str(self.file)) for part, told in self.parts.items()}

    @cached_property
    def _ranks(self) -> Mapping[str, Patterns]:
        return {part: Patterns(told.rank_pattern or {}, str(self.file)) for part, told in self.parts.items()}

    def of(self, module: str, rank: int) -> float:
        """The scale of one ``module`` of ``rank``; one where nothing is told."""
        told, part, path = self._told(module)
        alpha = None if told is None else self._alphas[part].of(path, told.lora_alpha)
        if told is None or alpha is None:
            return 1.0
        return float(alpha) / (rank**0.5 if told.use_rslora else rank)

    def folded(self, module: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The ``tensors`` of a module of PEFT's LoHa or LoKr with the scale that its configuration tells; others as they are."""
        told, part, path = self._told(module)
        name = None if told is None else _KINDS.get(told.peft_type)
        if told is None or name is None or "alpha" in tensors:
            return tensors
        alpha, rank = self._alphas[part].of(path, told.alpha), self._ranks[part].of(path, told.r)
        factor = 1.0 if alpha is None or rank is None else float(alpha) / float(rank)
        first = next((each for each in _FIRST_FACTORS[name] if each in tensors), None)
        return tensors if first is None else {**tensors, first: tensors[first] * factor}

    def trained(self, module: str, layer: Layer, base: ModuleShapes) -> Layer:
        """What training has changed of ``layer``, where its configuration says that it began with the base's own components.

        PiSSA (arXiv 2404.02948) and OLoRA (arXiv 2406.01775) take those out of the base. Raises ``BadInput`` for a beginning that
        depends on what the file does not hold.
        """
        told, _, _ = self._told(module)
        begun = None if told is None else told.init_lora_weights
        if begun in _UNTOUCHED:
            return layer
        name = str(begun)
        if not name.startswith(("pissa", "olora")):
            raise BadInput(
                f"{self.file}: init_lora_weights: {name} changes the base as well, in a way that the file does not tell. Export "
                "it with PEFT's save_pretrained(…, path_initial_model_for_weight_conversion=…), which makes a plain LoRA of it."
            )
        import torch

        up, down = _beginning(base.weight(module), layer, name)
        trained_up, trained_down = layer.factors
        both = layer.with_factors(torch.cat([trained_up, -up], dim=1), torch.cat([trained_down, down], dim=0))
        return replace(both, is_less_base=True)

    def _told(self, module: str) -> tuple[_Told | None, str, str]:
        part, path = module.split(".", 1)
        return self.parts.get(part), part, path


def _beginning(weight: Tensor, layer: Layer, name: str) -> tuple[Tensor, Tensor]:
    """What PiSSA or OLoRA take out of the base before they begin, as factors (out, rank) and (rank, in)."""
    import torch

    flat, rank = weight.flatten(1), layer.rank
    if name.startswith("olora"):
        left, right = torch.linalg.qr(flat)
        # PiSSA's factors are divided by the scale, so that it takes out its components whatever that is; OLoRA's are not.
        return left[:, :rank] * layer.scale, right[:rank]
    left, values, right = torch.linalg.svd(flat, full_matrices=False)
    return left[:, :rank] * values[:rank], right[:rank]


def beside(file: Path) -> Path | None:
    """The file that tells the scales of the adapter in ``file``, a PEFT folder's; None where there is none."""
    configuration = file.with_name(_CONFIGURATION)
    return configuration if file.name == PEFT_FILE and configuration.is_file() else None


def read(found: Header) -> Scales:
    """The scales that the file ``found`` tells of; ``BadInput`` where what it tells makes no sense."""
    if configuration := beside(found.file):
        return _parsed(configuration, {"unet": _object(configuration, configuration.read_bytes())})
    parts: dict[str, dict[str, Any]] = defaultdict(dict)
    for key, value in _object(found.file, found.metadata.get(_METADATA, "{}").encode()).items():
        part, _, name = key.partition(".")
        # diffusers leaves the part out in files of a UNet alone.
        if part in _PARTS and name:
            parts[part][name] = value
        else:
            parts["unet"][key] = value
    return _parsed(found.file, parts)


def _parsed(file: Path, parts: Mapping[str, Mapping[str, Any]]) -> Scales:
    try:
        scales = Scales.model_validate({"file": file, "parts": parts})
    except ValidationError as error:
        fault = error.errors()[0]
        raise BadInput(f"{file}: its {'.'.join(map(str, fault['loc'][2:3]))} makes no sense: {fault['msg']}.") from None
    for told in scales.parts.values():
        if told.peft_type not in _KINDS:
            raise BadInput(f"{file}: peft_type {told.peft_type[:40]!r} is not read; {', '.join(_KINDS)} are.")
    return scales


def _object(file: Path, text: bytes) -> dict[str, Any]:
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        raise BadInput(f"{file}: what it tells of its scales is no JSON object.")
    return told
