"""The whole model in full precision, any number of steps, with guidance."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError

from foundation.errors import BadInput
from zthumb import families
from zthumb.adapters import reader
from zthumb.backends.base import BaseBackend, Lora, Picture
from zthumb.sources.local import family_of, hash_base

if TYPE_CHECKING:
    from PIL import Image

_ADAPTER = "request"
_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, IndexError, SafetensorError)


class Backend(BaseBackend):
    """A diffusers pipeline: bf16 on a GPU, fp32 on a CPU."""

    name = "full"

    def __init__(self, folder: Path) -> None:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        self.family = family_of(folder)
        self.base_sha256 = hash_base(folder)
        self._pipeline = families.get(self.family).load(folder, dtype, device)
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
        adapter = reader.read(lora.path)
        digest = adapter.sha256
        unet = self._pipeline.unet
        reader.check_fits(adapter, unet, unet.config.layers_per_block)
        try:
            self._pipeline.load_lora_weights(
                adapter.path.parent, weight_name=adapter.path.name, adapter_name=_ADAPTER, use_safetensors=True
            )
            self._pipeline.set_adapters([_ADAPTER], [lora.scale])
        except BaseException as error:
            # The loader may have put part of the adapter on before it failed.
            self.remove_lora()
            if isinstance(error, _UNREADABLE):
                raise BadInput(f"{adapter.path}: cannot be put on this base: {error}") from error
            raise
        return digest

    def remove_lora(self) -> None:
        self._pipeline.unload_lora_weights()
