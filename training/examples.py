"""Pictures and captions as the denoiser takes them: latents and conditioning, encoded once."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from training.cache import Cache, Tensors
from training.data.dataset import Dataset, Entry
from zthumb.families.base import Conditioning, Family
from zthumb.sources.local import hash_parts


@dataclass(frozen=True)
class Examples:
    """N encoded pictures: latents (N, C, H, W) and what the denoiser is told of each."""

    latents: Tensor
    conditioning: Conditioning

    def __len__(self) -> int:
        return len(self.latents)

    def take(self, chosen: Sequence[int]) -> "Examples":
        """Some of them."""
        told = self.conditioning
        index = list(chosen)
        return Examples(self.latents[index], Conditioning(told.states[index], told.pooled[index], told.time_ids[index]))


class Encoders:
    """A base's encoders, asked once for every picture and caption.

    Each is encoded alone, so that an entry is the same whatever was encoded beside it.
    """

    def __init__(self, family: Family, pipeline: Any, base: Path, cache: Cache) -> None:
        self.family, self.pipeline, self.cache = family, pipeline, cache
        where = {"device": pipeline.device.type, "precision": str(pipeline.dtype), "torch": torch.__version__}
        self._pictures = {"encoder": hash_parts(base, family.picture_parts), **where}
        self._captions = {"encoder": hash_parts(base, family.text_parts), **where}

    def pictures(self, dataset: Dataset, folder: Path) -> Tensor:
        """The latents (N, C, H, W) of every prepared picture."""
        return torch.cat([self._latents(dataset, entry, folder) for entry in tqdm(dataset.entries, "encode", unit="picture")])

    def captions(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """The text states (N, tokens, width) and pooled embeddings (N, width) of ``captions``."""
        found = [
            self.cache.get("captions", {"caption": caption, **self._captions}, partial(self._embeddings, caption))
            for caption in captions
        ]
        device = self.pipeline.device
        states, pooled = (torch.cat([each[name] for each in found]).to(device) for name in ("states", "pooled"))
        return states, pooled

    def _latents(self, dataset: Dataset, entry: Entry, folder: Path) -> Tensor:
        depends_on = {"picture": entry.sha256, "resolution": dataset.resolution, "crop": entry.crop, **self._pictures}

        def make() -> Tensors:
            return {"latents": self.family.encode_pictures(self.pipeline, _pixels(folder / entry.file)[None])}

        return self.cache.get("pictures", depends_on, make)["latents"].to(self.pipeline.device)

    def _embeddings(self, caption: str) -> Tensors:
        states, pooled = self.family.encode_prompts(self.pipeline, [caption])
        return {"states": states, "pooled": pooled}


def encode_dataset(dataset: Dataset, folder: Path, encoders: Encoders) -> Examples:
    """Every prepared picture and its caption, encoded."""
    latents = encoders.pictures(dataset, folder)
    states, pooled = encoders.captions([entry.caption for entry in dataset.entries])
    target = (dataset.resolution, dataset.resolution)
    time_ids = [[*entry.original_size, *entry.crop, *target] for entry in dataset.entries]
    return Examples(latents, Conditioning(states, pooled, torch.tensor(time_ids, device=pooled.device)))


def without_captions(examples: Examples, dropped: Tensor) -> Examples:
    """The examples with the conditioning of those ``dropped`` (B, bool) zeroed, as SDXL's unconditional branch has it."""
    kept = ~dropped.to(examples.latents.device)
    told = examples.conditioning
    return Examples(examples.latents, Conditioning(told.states * kept[:, None, None], told.pooled * kept[:, None], told.time_ids))


def joined(first: Examples, second: Examples) -> Examples:
    """Both one after the other."""
    a, b = first.conditioning, second.conditioning
    return Examples(
        torch.cat([first.latents, second.latents]),
        Conditioning(torch.cat([a.states, b.states]), torch.cat([a.pooled, b.pooled]), torch.cat([a.time_ids, b.time_ids])),
    )


def _pixels(path: Path) -> Tensor:
    with Image.open(path) as picture:
        values = np.array(picture.convert("RGB"))
    return torch.from_numpy(values).permute(2, 0, 1).float() / 127.5 - 1
