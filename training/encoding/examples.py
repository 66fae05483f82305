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

from foundation.images import open_image
from training.data.dataset import Entry
from training.encoding.cache import Cache, Tensors
from training.encoding.placement import on_device
from zthumb.families.base import Conditioning, Family
from zthumb.sources.local import hash_parts


@dataclass(frozen=True)
class Examples:
    """N encoded images, what the denoiser is told of each, and where to look in it.

    ``latents`` are each (C, h, w), of one size or several. ``masks`` are each (1, h, w), 0 where nothing is learned, or None.
    ``names`` are those of the images, for people. ``captions`` are each image's rows of ``conditioning``, one for each of its
    captions; without any, row n is that of image n. ``repeats`` are how often an epoch has each; without any, once.
    """

    latents: tuple[Tensor, ...]
    conditioning: Conditioning
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

    def where(self) -> Tensor | None:
        """Where images of one size are learned (N, 1, h, w), of mean one for each; None where all of every image counts."""
        if all(mask is None for mask in self.masks):
            return None
        pairs = zip(self.masks, self.latents, strict=True)
        shapes = [torch.ones_like(latents[:1]) if mask is None else mask for mask, latents in pairs]
        return torch.stack([shape / shape.mean().clamp(min=1e-6) for shape in shapes])

    def rows_of(self, place: int) -> tuple[int, ...]:
        """The rows of the conditioning that are captions of the image of this number."""
        return self.captions[place] if self.captions else (place,)

    def take(self, chosen: Sequence[int], rows: Sequence[int] | None = None) -> "Examples":
        """Some of them, in the order asked for, each with its first caption, or with that of its row of ``rows``."""
        index = list(chosen)
        told = [self.rows_of(place)[0] for place in index] if rows is None else list(rows)
        return Examples(
            tuple(self.latents[place] for place in index),
            self.conditioning[told],
            tuple(self.masks[place] for place in index),
            tuple(self.names[place] for place in index),
        )


class Encoders:
    """A base's encoders, asked once for every image and caption, and on ``device`` only while they are asked.

    Each is encoded alone, so that an entry is the same whatever was encoded beside it. States and embeddings are those of the
    base; ``words`` that training teaches it, with the tokens that stand for each, are read as such in the tokens alone.
    """

    def __init__(
        self,
        family: Family,
        pipeline: Any,
        base: Path,
        cache: Cache,
        device: torch.device,
        words: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        self._words = words
        self.family, self.pipeline, self.cache, self.device = family, pipeline, cache, device
        self.where = {"device": device.type, "precision": str(pipeline.dtype), "torch": torch.__version__}
        self._images = {"encoder": hash_parts(base, family.image_components), **self.where}
        self._captions = {"encoder": hash_parts(base, family.text_components), **self.where}

    def encode(self, entries: Sequence[Entry], folder: Path) -> Examples:
        """The prepared images ``entries`` in ``folder`` with their captions, sizes and masks."""
        with on_device(self.pipeline, self.family.image_components, self.device):
            latents = tuple(self._latents(entry, folder) for entry in tqdm(entries, "encode", unit="image"))
        told = [(entry, caption) for entry in entries for caption in entry.captions]
        states, pooled, tokens = self.captions([caption for _, caption in told])
        time_ids = torch.tensor([[*entry.original_size, *entry.crop, *entry.size] for entry, _ in told], device=pooled.device)
        masks = tuple(_mask(entry, folder, each) for entry, each in zip(entries, latents, strict=True))
        ends = [0, *accumulate(len(entry.captions) for entry in entries)]
        return Examples(
            latents,
            Conditioning(states, pooled, time_ids, tokens),
            masks,
            tuple(entry.source for entry in entries),
            captions=tuple(tuple(range(start, end)) for start, end in pairwise(ends)),
            repeats=tuple(entry.repeats for entry in entries),
        )

    def captions(self, captions: Sequence[str]) -> tuple[Tensor, Tensor, Tensor]:
        """The text states (N, tokens, width), pooled embeddings (N, width) and tokens (N, encoders, tokens) of ``captions``."""
        with on_device(self.pipeline, self.family.text_components, self.device):
            found = [
                self.cache.get("captions", {"caption": caption, **self._captions}, partial(self._embeddings, caption))
                for caption in captions
            ]
        states, pooled = (torch.cat([each[name] for each in found]).to(self.device) for name in ("states", "pooled"))
        return states, pooled, self.family.tokens(self.pipeline, captions, self._words).to(self.device)

    def _latents(self, entry: Entry, folder: Path) -> Tensor:
        depends_on = {"image": entry.sha256, "size": entry.size, "crop": entry.crop, **self._images}

        def make() -> Tensors:
            return {"latents": self.family.encode_images(self.pipeline, pixels(folder / entry.file)[None])[0]}

        return self.cache.get("images", depends_on, make)["latents"].to(self.device)

    def _embeddings(self, caption: str) -> Tensors:
        states, pooled = self.family.encode_prompts(self.pipeline, [caption])
        return {"states": states, "pooled": pooled}


def joined(first: Examples, second: Examples) -> Examples:
    """Both one after the other."""
    rows = len(first.conditioning.pooled)
    return Examples(
        first.latents + second.latents,
        first.conditioning + second.conditioning,
        first.masks + second.masks,
        first.names + second.names,
        captions=tuple(first.rows_of(place) for place in range(len(first)))
        + tuple(tuple(rows + row for row in second.rows_of(place)) for place in range(len(second))),
        repeats=tuple(each.repeats[place] if each.repeats else 1 for each in (first, second) for place in range(len(each))),
    )


def pixels(path: Path) -> Tensor:
    """An image file as (3, height, width) in -1 … 1."""
    values = np.array(open_image(path).image)
    return torch.from_numpy(values).permute(2, 0, 1).float() / 127.5 - 1


def _mask(entry: Entry, folder: Path, latents: Tensor) -> Tensor | None:
    """The mask's share of white over each place of the latents."""
    if entry.mask is None:
        return None
    with Image.open(folder / entry.mask) as image:
        values = torch.from_numpy(np.array(image.convert("L"))).float() / 255
    return functional.adaptive_avg_pool2d(values[None], (latents.shape[-2], latents.shape[-1])).to(latents.device)
