"""The model that is adapted, as training sees it: noisy latents in, a prediction out, with the adapter or without."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from training.model import adapter, word
from training.model.quantize import quantize
from training.model.shard import shard
from training.recipe import Recipe
from zthumb.families.base import Conditioning, Family, Prediction

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def load(recipe: Recipe, family: Family, folder: Path, device: torch.device) -> Any:
    """The pipeline of the base in ``folder`` as ``recipe`` computes with it, on the CPU until its parts are asked for.

    A denoiser in fewer bits is on ``device`` already: whatever it is asked first, it is never there whole.
    """
    pipeline = family.load(folder, DTYPES[recipe.precision], torch.device("cpu"))
    if recipe.quantize != "none":
        quantize(family.denoiser(pipeline), recipe.quantize, DTYPES[recipe.precision], device)
    if recipe.objective.prediction != "base":
        # What is painted is painted by what the denoiser predicts, should the recipe say other than the base.
        scheduler = type(pipeline.scheduler)
        pipeline.scheduler = scheduler.from_config(pipeline.scheduler.config, prediction_type=recipe.objective.prediction)
    return pipeline


def adapted_parts(recipe: Recipe, family: Family) -> Sequence[str]:
    """The parts of the pipeline that ``recipe`` adapts."""
    reads_anew = recipe.adapter.text_encoders or recipe.adapter.tokens
    return family.adapted_parts if reads_anew else (family.denoiser_part,)


class Adapted(nn.Module):
    """The parts of a base that carry the adapter, as one module: what several processes exchange the gradients of."""

    def __init__(self, family: Family, parts: Mapping[str, Any]) -> None:
        super().__init__()
        self.family, self.parts = family, nn.ModuleDict(parts)
        self.is_enabled = True

    @property
    def text_parts(self) -> dict[str, nn.Module]:
        """Those that read the prompt; none unless the recipe adapts them or teaches them a word."""
        return {part: model for part, model in self.parts.items() if part != self.family.denoiser_part}

    def forward(self, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        """What the denoiser predicts for ``noisy`` latents (B, C, h, w) at ``timesteps`` (B,)."""
        if self.text_parts and self.is_enabled:
            conditioning = self._told_anew(conditioning)
        return self.family.predict(self.parts[self.family.denoiser_part], noisy, timesteps, conditioning)

    def _told_anew(self, conditioning: Conditioning) -> Conditioning:
        """What the text encoders make of the tokens with the adapter on; nothing where nothing was told."""
        assert conditioning.tokens is not None
        states, pooled = self.family.encode_tokens(self.text_parts, conditioning.tokens.clamp(min=0))
        kept = (conditioning.tokens >= 0).all(dim=(1, 2))
        return replace(conditioning, states=states * kept[:, None, None], pooled=pooled * kept[:, None])


@dataclass(frozen=True)
class Base:
    """A base's adapted parts.

    ``levels`` (timesteps,) are the cumulated alphas of its noise schedule, ``precision`` the dtype its products are made in,
    ``words`` those that its text encoders are taught, with the tokens that stand for each.
    """

    family: Family
    adapted: Adapted
    levels: Tensor
    prediction: Prediction
    precision: torch.dtype
    words: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, pipeline: Any, family: Family, recipe: Recipe, device: torch.device, trigger: str = "") -> "Base":
        """The base in a pipeline of ``load``, with an adapter on the parts that the recipe adapts, those on ``device``.

        ``trigger`` is the word that new tokens stand for, if the recipe wants some.
        """
        parts = {name: getattr(pipeline, name) for name in adapted_parts(recipe, family)}
        for part in parts.values():
            part.to(device)
        began = family.vectors(pipeline, trigger) if recipe.adapter.tokens else {}
        adapter.attach(parts, recipe, family)
        for part, vectors in began.items():
            word.begin(parts[part], vectors)
        if recipe.shard:
            shard(parts[family.denoiser_part], device)
        return cls(
            family=family,
            adapted=Adapted(family, parts),
            levels=family.noise_levels(pipeline).to(device),
            prediction=family.prediction(pipeline),
            words={trigger: recipe.adapter.tokens} if recipe.adapter.tokens else {},
            precision=DTYPES[recipe.precision],
        )

    @property
    def parts(self) -> dict[str, Any]:
        """The adapted parts by name."""
        return dict(self.adapted.parts.items())

    def predict(self, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning, through: Any = None) -> Tensor:
        """What the denoiser predicts, float32; ``through`` is what the adapted parts are wrapped in, if they are."""
        with torch.autocast(noisy.device.type, self.precision, enabled=self.precision != torch.float32):
            predicted: Tensor = (through or self.adapted)(noisy, timesteps, conditioning)
        return predicted.float()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Without the adapter, for the length of the block."""
        adapter.enable(self.parts, False)
        self.adapted.is_enabled = False
        try:
            yield
        finally:
            adapter.enable(self.parts, True)
            self.adapted.is_enabled = True
