"""The whole model with its denoiser from a GGUF file: a fraction of the memory, a little off in each image."""

from pathlib import Path
from typing import Any

import torch

from foundation.hashing import hash_file, hash_value
from zthumb import families
from zthumb.backends import full
from zthumb.backends.base import Options, WeightsLocation
from zthumb.families.base import ModelFamily
from zthumb.gguf.load import load
from zthumb.memory import room
from zthumb.sources.local import family_of, hash_base


class Backend(full.Backend):
    """The same pipeline around a denoiser whose linear weights stay in the file's blocks."""

    name = "gguf"
    preference = 1

    @classmethod
    def find(cls, model: Path, configured: Path | None) -> WeightsLocation | None:
        file = configured or model.with_name(f"{model.name}.gguf")
        return WeightsLocation(file, model) if file.is_file() and (model / "model_index.json").is_file() else None

    @classmethod
    def weights_bytes(cls, location: WeightsLocation, element: int) -> int:
        whole = location.base / families.get(family_of(location.base)).denoiser_component
        return room.weights(location.base, element) - room.weights_of(whole, element) + location.denoiser.stat().st_size

    def _load(self, location: WeightsLocation, family: ModelFamily, options: Options, device: torch.device) -> Any:
        dtype = full.dtype_of(options, device)
        denoiser = load(location.denoiser, location.base, family, dtype).to(device)
        return family.load(location.base, dtype, device, denoiser)

    def _hash(self, location: WeightsLocation) -> str:
        return hash_value({"base": hash_base(location.base), "denoiser": hash_file(location.denoiser)})
