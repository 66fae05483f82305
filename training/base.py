"""The model that is adapted, as training sees it: noisy latents in, a prediction out, with the adapter or without."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from training.recipe import Recipe
from zthumb.families.base import Conditioning, Family, Prediction

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Base:
    """A base's denoiser with the adapter on it.

    ``levels`` (timesteps,) are the cumulated alphas of its noise schedule, ``precision`` the dtype its products are made in.
    """

    family: Family
    denoiser: Any
    levels: Tensor
    prediction: Prediction
    precision: torch.dtype

    @classmethod
    def of(cls, pipeline: Any, family: Family, recipe: Recipe, device: torch.device) -> "Base":
        """The base in a loaded pipeline, its denoiser on ``device``."""
        denoiser = family.denoiser(pipeline).to(device)
        named = recipe.objective.prediction
        return cls(
            family=family,
            denoiser=denoiser,
            levels=family.noise_levels(pipeline).to(device),
            prediction=family.prediction(pipeline) if named == "base" else named,
            precision=DTYPES[recipe.precision],
        )

    def predict(self, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning, through: Any = None) -> Tensor:
        """What the denoiser predicts, float32; ``through`` is what it is wrapped in, if it is."""
        with torch.autocast(noisy.device.type, self.precision, enabled=self.precision != torch.float32):
            predicted: Tensor = self.family.predict(through or self.denoiser, noisy, timesteps, conditioning)
        return predicted.float()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Without the adapter, for the length of the block."""
        self.denoiser.disable_adapters()
        try:
            yield
        finally:
            self.denoiser.enable_adapters()
