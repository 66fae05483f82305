"""Pictures and captions as the denoiser takes them: latents and conditioning, encoded once."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from training.data.dataset import Dataset
from zthumb.families.base import Conditioning, Family


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


@torch.no_grad()
def encode_dataset(dataset: Dataset, folder: Path, family: Family, pipeline: Any) -> Examples:
    """Encode every prepared picture and its caption."""
    latents = [
        family.encode_pictures(pipeline, _pixels(folder / entry.file)[None])
        for entry in tqdm(dataset.entries, desc="encode", unit="picture")
    ]
    states, pooled = family.encode_prompts(pipeline, [entry.caption for entry in dataset.entries])
    target = (dataset.resolution, dataset.resolution)
    time_ids = [[*entry.original_size, *entry.crop, *target] for entry in dataset.entries]
    return Examples(torch.cat(latents), Conditioning(states, pooled, torch.tensor(time_ids, device=pooled.device)))


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
