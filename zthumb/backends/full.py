"""The whole model in full precision, any number of steps, with guidance."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from zthumb import families
from zthumb.adapters import apply, reader, skeleton
from zthumb.backends.base import BaseBackend, Lora, Picture
from zthumb.sources.local import family_of, hash_base

if TYPE_CHECKING:
    from PIL import Image

_ADAPTER = "request"


class Backend(BaseBackend):
    """A diffusers pipeline: bf16 on a GPU, fp32 on a CPU."""

    name = "full"

    def __init__(self, folder: Path) -> None:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        self.family = family_of(folder)
        self.base_sha256 = hash_base(folder)
        family = families.get(self.family)
        self._pipeline = family.load(folder, dtype, device)
        self._parts = {part: getattr(self._pipeline, part) for part in family.adapted_parts}
        self._skeleton = skeleton.of_parts(folder.name, self._parts)
        self.native_resolution = self._pipeline.unet.config.sample_size * self._pipeline.vae_scale_factor

    def generate(self, picture: Picture) -> "Image.Image":
        # A scheduler keeps its place in the schedule: each picture gets a fresh one.
        self._pipeline.scheduler = type(self._pipeline.scheduler).from_config(self._pipeline.scheduler.config)
        made: Image.Image = self._pipeline(
            prompt=picture.prompt,
            negative_prompt=picture.negative_prompt,
            width=picture.width,
            height=picture.height,
            num_inference_steps=picture.steps,
            guidance_scale=picture.guidance_scale,
            generator=torch.Generator().manual_seed(picture.seed),
        ).images[0]
        return made

    def apply_lora(self, lora: Lora) -> str:
        adapter = reader.load(lora.path, self._skeleton)
        digest = reader.hash_of(lora.path)
        try:
            apply.put_on(self._parts, adapter, _ADAPTER)
            apply.weigh(self._parts, {_ADAPTER: lora.scale})
        except BaseException:
            # Part of the adapter may be on already.
            self.remove_lora()
            raise
        return digest

    def remove_lora(self) -> None:
        apply.take_off(self._parts)
