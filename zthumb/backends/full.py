"""The whole model, any number of steps, with guidance."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from zthumb import families
from zthumb.adapters import skeleton
from zthumb.adapters.loaded import Applied, LoadedAdapters, Lora
from zthumb.backends.base import BaseBackend, Limits, Options
from zthumb.painting.painter import Painter, Picture, Watch
from zthumb.sources.local import family_of, hash_base

if TYPE_CHECKING:
    from PIL import Image

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Backend(BaseBackend):
    """A diffusers pipeline."""

    name = "full"
    limits = Limits(steps=(1, 150), default_steps=25, guidance_scale=(0.0, 30.0), default_guidance_scale=5.0)
    spacing: str | None = None

    def __init__(self, folder: Path, options: Options) -> None:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.family, self.base_sha256 = family_of(folder), hash_base(folder)
        family = families.get(self.family)
        pipeline = family.load(folder, _dtype(options, device), device)
        denoiser, parts = family.denoiser(pipeline), {part: getattr(pipeline, part) for part in family.adapted_parts}
        if options.channels_last:
            denoiser.to(memory_format=torch.channels_last)
        self._adapters = LoadedAdapters(parts, skeleton.of_parts(folder.name, parts), options.adapter_bytes)
        if options.compile:
            denoiser.compile_repeated_blocks()
        self._painter = Painter(pipeline, family, options.tile, self.spacing)
        self.native_resolution = denoiser.config.sample_size * pipeline.vae_scale_factor

    def scheduler_name(self, asked: str | None) -> str:
        return self._painter.scheduler_name(asked)

    def paint(
        self, pictures: Sequence[Picture], watch: Watch, words: Mapping[str, int], tile: int | None = None
    ) -> list["Image.Image"]:
        return self._painter.paint(pictures, watch, words, tile)

    def spare(self) -> None:
        self._adapters.clear()

    def under(self, loras: Sequence[Lora]) -> AbstractContextManager[Applied]:
        return self._adapters.counting(loras)


def _dtype(options: Options, device: torch.device) -> torch.dtype:
    if options.precision == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    return _DTYPES[options.precision]
