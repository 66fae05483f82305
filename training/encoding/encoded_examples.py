"""Images and captions as the denoiser takes them: latents and conditioning, encoded once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from foundation.image_reader import open_image
from training.data.dataset import Entry
from training.encoding.cache import Cache, Tensors
from training.encoding.placement import on_device
from zthumb.diffusion.conditioning import Conditioning
from zthumb.families.base import ImageSize, ModelFamily
from zthumb.families.shared.clip_text import ClipTextFamily
from zthumb.sources.local import hash_components


@dataclass(frozen=True)
class Examples:
    """N encoded images, their conditioning and masks.

    ``latents`` are each (C, h, w), of one size or several. ``unconditional`` is that of one image, for captions that are dropped.
    ``masks`` are each (1, h, w), 0 where nothing is learned, or None. ``names`` are the images' file names, for messages.
    ``captions`` are each image's rows of ``conditioning``, one for each of its captions; without any, row n is that of image n.
    ``repeats`` are how often each is in an epoch; without any, once.
    """

    latents: tuple[Tensor, ...]
    conditioning: Conditioning
    unconditional: Conditioning
    masks: tuple[Tensor | None, ...]
    names: tuple[str, ...]
    captions: tuple[tuple[int, ...], ...] = ()
    repeats: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.latents)

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Height and width of each image's latents."""
        return tuple((latents.shape[-2], latents.shape[-1]) for latents in self.latents)

    def loss_mask(self) -> Tensor | None:
        """Return the loss weights (N, 1, h, w) of images of one size, of mean one for each; None without any mask."""
        if all(mask is None for mask in self.masks):
            return None
        pairs = zip(self.masks, self.latents, strict=True)
        shapes = [torch.ones_like(latents[:1]) if mask is None else mask for mask, latents in pairs]
        return torch.stack([shape / shape.mean().clamp(min=1e-6) for shape in shapes])

    def rows_of(self, index: int) -> tuple[int, ...]:
        """Return the rows of the conditioning that are captions of the image at ``index``."""
        return self.captions[index] if self.captions else (index,)

    def take(self, chosen: Sequence[int], rows: Sequence[int] | None = None) -> "Examples":
        """Return the ``chosen`` examples in their order, each with its first caption, or with that of its row of ``rows``."""
        indices = list(chosen)
        return Examples(
            tuple(self.latents[index] for index in indices),
            self.conditioning.select([self.rows_of(index)[0] for index in indices] if rows is None else list(rows)),
            self.unconditional,
            tuple(self.masks[index] for index in indices),
            tuple(self.names[index] for index in indices),
        )


class Encoders:
    """A base's encoders, called once for every image and caption, and on ``device`` only while they are called.

    Those of text are on ``text_device``, if that is another one.

    Each image and caption is encoded by itself, so that a cached entry is the same whatever was encoded beside it. Embeddings are
    those of the base; ``learned_tokens``, which training teaches it, appear in token ids alone. ``guidance_scale`` is what a
    denoiser is told that is told one.
    """

    def __init__(
        self,
        family: ModelFamily,
        pipeline: Any,
        base: Path,
        cache: Cache,
        device: torch.device,
        learned_tokens: Mapping[str, int] = MappingProxyType({}),
        guidance_scale: float = 1.0,
        text_device: torch.device | None = None,
    ) -> None:
        self.family, self.pipeline, self.cache, self.device = family, pipeline, cache, device
        self._learned_tokens, self._guidance = learned_tokens, family.guidance(guidance_scale)
        self._text_device = text_device or device
        self.environment = {"device": device.type, "precision": str(pipeline.dtype), "torch": torch.__version__}
        self._image_key = {"encoder": hash_components(base, family.image_components), **self.environment}
        text_environment = {**self.environment, "device": self._text_device.type}
        self._caption_key = {"encoder": hash_components(base, family.text_components), **text_environment}

    def encode(self, entries: Sequence[Entry], folder: Path) -> Examples:
        """Encode the prepared images ``entries`` in ``folder`` with their captions, sizes and masks."""
        with on_device(self.pipeline, self.family.image_components, self.device):
            latents = tuple(self._latents(entry, folder) for entry in tqdm(entries, "encode", unit="image"))
        captioned = [(entry, caption) for entry in entries for caption in entry.captions]
        sizes = [ImageSize(entry.original_size, entry.crop, entry.size) for entry, _ in captioned]
        conditioning = self.complete(self.captions([caption for _, caption in captioned]), sizes)
        masks = tuple(_mask(entry, folder, image) for entry, image in zip(entries, latents, strict=True))
        ends = [0, *accumulate(len(entry.captions) for entry in entries)]
        return Examples(
            latents,
            conditioning,
            self.unconditional(conditioning),
            masks,
            tuple(entry.source for entry in entries),
            captions=tuple(tuple(range(start, end)) for start, end in pairwise(ends)),
            repeats=tuple(entry.repeats for entry in entries),
        )

    def complete(self, captions: Conditioning, sizes: Sequence[ImageSize]) -> Conditioning:
        """Return the conditioning of ``captions`` with the images' sizes and the guidance scale added, where it has them."""
        sized = self.family.with_sizes(captions, sizes)
        return self.family.with_guidance(self.family.denoiser(self.pipeline), sized, self._guidance)

    def captions(self, captions: Sequence[str]) -> Conditioning:
        """Return the conditioning of ``captions`` without sizes, with token ids where text encoders may be trained."""
        with on_device(self.pipeline, self.family.text_components, self._text_device):
            encoded = [
                self.cache.get("conditioning", {"caption": caption, **self._caption_key}, partial(self._encode, caption))
                for caption in captions
            ]
        names = encoded[0] if encoded else ()
        conditioning = Conditioning({name: tuple(tensors[name] for tensors in encoded) for name in names}).to(self.device)
        if not isinstance(self.family, ClipTextFamily) or not captions:
            return conditioning
        token_ids = self.family.token_ids(self.pipeline, captions, self._learned_tokens).to(self.device)
        return conditioning.merge(token_ids=token_ids)

    def unconditional(self, like: Conditioning) -> Conditioning:
        """Return the conditioning of one image whose caption is dropped, in the shape of ``like``."""
        with on_device(self.pipeline, self.family.text_components, self._text_device):
            conditioning = self.family.unconditional(self.pipeline, like).to(self.device)
        if not isinstance(self.family, ClipTextFamily):
            return conditioning
        return conditioning.merge(token_ids=self.family.unconditional_token_ids(self.pipeline).to(self.device))

    def _latents(self, entry: Entry, folder: Path) -> Tensor:
        depends_on = {"image": entry.sha256, "size": entry.size, "crop": entry.crop, **self._image_key}

        def encode() -> Tensors:
            return {"latents": self.family.encode_images(self.pipeline, pixels(folder / entry.file)[None])[0]}

        return self.cache.get("images", depends_on, encode)["latents"].to(self.device)

    def _encode(self, caption: str) -> Tensors:
        conditioning = self.family.encode_prompts(self.pipeline, [caption])
        return {name: values[0] for name, values in conditioning.tensors.items()}


def joined(first: Examples, second: Examples) -> Examples:
    """Return the examples of both, one after the other."""
    rows = len(first.conditioning)
    return Examples(
        first.latents + second.latents,
        first.conditioning.concat(second.conditioning),
        first.unconditional,
        first.masks + second.masks,
        first.names + second.names,
        captions=tuple(first.rows_of(index) for index in range(len(first)))
        + tuple(tuple(rows + row for row in second.rows_of(index)) for index in range(len(second))),
        repeats=tuple(
            examples.repeats[index] if examples.repeats else 1 for examples in (first, second) for index in range(len(examples))
        ),
    )


def pixels(path: Path) -> Tensor:
    """Return the image in a file as (3, height, width) in -1 … 1."""
    values = np.array(open_image(path).image)
    return torch.from_numpy(values).permute(2, 0, 1).float() / 127.5 - 1


def _mask(entry: Entry, folder: Path, latents: Tensor) -> Tensor | None:
    """The mask's share of white over each latent pixel."""
    if entry.mask is None:
        return None
    with Image.open(folder / entry.mask) as image:
        values = torch.from_numpy(np.array(image.convert("L"))).float() / 255
    return functional.adaptive_avg_pool2d(values[None], (latents.shape[-2], latents.shape[-1])).to(latents.device)
