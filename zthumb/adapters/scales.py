"""What the product of a module's factors is multiplied by, where the file has no alpha beside them.

It then stands in the header (``lora_adapter_metadata``, diffusers) or in ``adapter_config.json`` beside the file (PEFT).
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, FiniteFloat, ValidationError

from foundation.errors import BadInput
from zthumb.adapters.header import PEFT_FILE, Header

_CONFIGURATION, _METADATA = "adapter_config.json", "lora_adapter_metadata"
_PARTS = ("unet", "text_encoder", "text_encoder_2")
# PEFT takes the keys of its patterns for regular expressions; a file's are not run, and none but anchors are in use.
_MODULE = re.compile(r"\^?(?P<path>[\w.]+)\$?")


class _Told(BaseModel):
    """What is read of a configuration; the rest of it is for training."""

    lora_alpha: FiniteFloat | None = None
    alpha_pattern: Mapping[str, FiniteFloat] | None = None
    use_rslora: bool = False


class Scales(BaseModel):
    """The configurations of an adapter file by part of the pipeline."""

    parts: Mapping[str, _Told] = Field(default_factory=dict)

    def of(self, module: str, rank: int) -> float:
        """The scale of one ``module`` of ``rank``; one where nothing is told."""
        part, path = module.split(".", 1)
        told = self.parts.get(part)
        if told is None or (alpha := _own(told, path)) is None:
            return 1.0
        return alpha / (rank**0.5 if told.use_rslora else rank)


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


def _own(told: _Told, path: str) -> float | None:
    for pattern, alpha in (told.alpha_pattern or {}).items():
        named = _MODULE.fullmatch(pattern)
        assert named is not None
        if f".{path}".endswith(f".{named['path']}"):
            return alpha
    return told.lora_alpha


def _parsed(file: Path, parts: Mapping[str, Mapping[str, Any]]) -> Scales:
    try:
        scales = Scales.model_validate({"parts": parts})
    except ValidationError as error:
        fault = error.errors()[0]
        raise BadInput(f"{file}: its {'.'.join(map(str, fault['loc'][2:3]))} makes no sense: {fault['msg']}.") from None
    for told in scales.parts.values():
        for pattern in told.alpha_pattern or {}:
            if not _MODULE.fullmatch(pattern):
                raise BadInput(f"{file}: alpha_pattern {pattern[:60]!r} is no module's name; such patterns are not run.")
    return scales


def _object(file: Path, text: bytes) -> dict[str, Any]:
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        raise BadInput(f"{file}: what it tells of its scales is no JSON object.")
    return told
