"""The whole model with its denoiser from a GGUF file: a fraction of the memory, a little off in each image."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from foundation.hashing import hash_file, hash_value
from zthumb import families
from zthumb.backends import full
from zthumb.backends.base import Options, WeightsLocation
from zthumb.checkpoints.gguf.load import load
from zthumb.checkpoints.gguf.write import write
from zthumb.families.base import ModelFamily
from zthumb.memory import usage
from zthumb.memory.residency import Placement
from zthumb.sources.local import family_of, hash_base


def read_denoiser(file: Path, base: Path, family: ModelFamily, dtype: torch.dtype) -> Any:
    """Return the denoiser in ``file``, configured as that of ``base``; weights that are not quantized get ``dtype``.

    Raises ``BadInput`` when tensors are missing, unknown or of another shape.
    """
    denoiser = _build(family, family.configuration(base, family.denoiser_component))
    return load(file, denoiser, family.checkpoint_keys(family.denoiser_component, denoiser), str(base), dtype)


def write_denoiser(base: Path, family: ModelFamily, kind: str, target: Path, has_original_names: bool = False) -> None:
    """Write the denoiser of ``base`` to ``target``, its linear weights as ``kind``, by diffusers' names or the original ones."""
    configuration = family.configuration(base, family.denoiser_component)
    keys = family.checkpoint_keys(family.denoiser_component, _build(family, configuration)) if has_original_names else {}
    write(base / family.denoiser_component, configuration, family.gguf_architecture, kind, target, keys)


def _build(family: ModelFamily, configuration: Mapping[str, Any]) -> Any:
    with torch.device("meta"):
        return family.build_component(family.denoiser_component, configuration).requires_grad_(False)


class Backend(full.Backend):
    """The same pipeline around a denoiser whose linear weights stay in the file's blocks."""

    name = "gguf"
    preference = 1

    @classmethod
    def find(cls, model: Path, configured: Path | None) -> WeightsLocation | None:
        file = configured or model.with_name(f"{model.name}.gguf")
        return WeightsLocation(file, model) if file.is_file() and full.is_base(model) else None

    @classmethod
    def weights_bytes(cls, location: WeightsLocation, element: int) -> int:
        whole = location.base / families.get(family_of(location.base)).denoiser_component
        return usage.weights(location.base, element) - usage.weights_of(whole, element) + location.denoiser.stat().st_size

    @classmethod
    def placements(cls, location: WeightsLocation, options: Options, device_type: str) -> Mapping[Placement, str]:
        reason = "a denoiser from a GGUF file is not mapped into memory" if device_type == "cpu" else ""
        return {**super().placements(location, options, device_type), **({"offload": reason} if reason else {})}

    @classmethod
    def denoiser_bytes(cls, location: WeightsLocation) -> int | None:
        return location.denoiser.stat().st_size

    @classmethod
    def hash_of(cls, location: WeightsLocation) -> str:
        return hash_value({"base": hash_base(location.base), "denoiser": hash_file(location.denoiser)})

    def _load(
        self, location: WeightsLocation, family: ModelFamily, options: Options, device: torch.device, place: torch.device
    ) -> Any:
        dtype = full.dtype_of(options, device)
        denoiser = read_denoiser(location.denoiser, location.base, family, dtype).to(place)
        return family.load(location.base, dtype, place, {family.denoiser_component: denoiser})
