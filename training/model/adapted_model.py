"""The adapted model as training sees it: noisy latents in, a prediction out, with the adapter or without."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from foundation.errors import BadInput
from training.model import learned_tokens, peft_adapter
from training.model.quantize import AS_GENERATED, quantize
from training.model.shard import shard
from training.model.training_adapter import merge_training_adapter
from training.recipe import Recipe
from zthumb.diffusion.conditioning import Conditioning
from zthumb.diffusion.process import DiffusionProcess
from zthumb.families.base import ModelFamily
from zthumb.families.shared.clip_text import ClipTextFamily
from zthumb.memory.block_swap import BlockSwap, blocks_of, chosen_blocks, swap_blocks
from zthumb.memory.waiting_weights import move

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def load(recipe: Recipe, family: ModelFamily, folder: Path) -> Any:
    """Return the pipeline of the base in ``folder`` as ``recipe`` computes with it, on the CPU until its components are used.

    ``place_denoiser`` quantizes its denoiser, if the recipe says so.
    """
    dtype = DTYPES[recipe.precision]
    pipeline = family.load(folder, dtype, torch.device("cpu"))
    if recipe.training_adapter is not None:
        merge_training_adapter(recipe.training_adapter, pipeline, family, dtype, AS_GENERATED[recipe.quantize])
    if recipe.objective.prediction != "base":
        # Images are sampled by what the denoiser predicts, also where the recipe overrides the base.
        scheduler = type(pipeline.scheduler)
        pipeline.scheduler = scheduler.from_config(pipeline.scheduler.config, prediction_type=recipe.objective.prediction)
    return pipeline


def place_denoiser(pipeline: Any, recipe: Recipe, family: ModelFamily, device: torch.device) -> BlockSwap | None:
    """Quantize the denoiser, if the recipe does: layer by layer on the way to ``device``, never whole in full precision.

    Return what swaps its blocks, if the recipe swaps some; raises ``BadInput`` if it has not so many.
    """
    denoiser, count = family.denoiser(pipeline), recipe.blocks_to_swap
    if count > (available := len(blocks_of(denoiser))):
        raise BadInput(f"blocks_to_swap: {recipe.base} has {available} blocks, not {count}.")
    if recipe.quantize != "none":
        quantize(denoiser, recipe.quantize, DTYPES[recipe.precision], device, chosen_blocks(denoiser, count))
    return swap_blocks(denoiser, count, device) if count else None


def adapted_components(recipe: Recipe, family: ModelFamily) -> Sequence[str]:
    """Return the components of the pipeline that ``recipe`` adapts."""
    trains_text = recipe.adapter.text_encoders or recipe.adapter.tokens
    return family.adapted_components if trains_text else (family.denoiser_component,)


class Adapted(nn.Module):
    """The components that carry the adapter, as one module, whose gradients several processes exchange."""

    def __init__(self, family: ModelFamily, components: Mapping[str, Any]) -> None:
        super().__init__()
        self.family, self.components = family, nn.ModuleDict(components)
        self.is_enabled = True

    @property
    def text_components(self) -> dict[str, nn.Module]:
        """The text encoders; none unless the recipe adapts them or teaches them new tokens."""
        return {name: model for name, model in self.components.items() if name != self.family.denoiser_component}

    def forward(self, noisy: Tensor, times: Tensor, conditioning: Conditioning) -> Tensor:
        """Return what the denoiser predicts for ``noisy`` latents (B, C, h, w) at ``times`` (B,)."""
        if self.text_components and self.is_enabled:
            assert isinstance(self.family, ClipTextFamily)
            conditioning = self.family.reencode(self.text_components, conditioning)
        return self.family.predict(self.components[self.family.denoiser_component], noisy, times, conditioning)


@dataclass(frozen=True)
class AdaptedModel:
    """A base with a trainable adapter, and the diffusion process it is trained with.

    ``precision`` is the dtype of matrix products, ``device`` that of the adapted components. ``learned_tokens`` are words that
    its text encoders learn, with the number of tokens of each.
    """

    family: ModelFamily
    adapted: Adapted
    process: DiffusionProcess
    precision: torch.dtype
    device: torch.device
    learned_tokens: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        pipeline: Any,
        family: ModelFamily,
        recipe: Recipe,
        device: torch.device,
        trigger: str = "",
        swap: BlockSwap | None = None,
    ) -> "AdaptedModel":
        """Attach an adapter to the components of a pipeline of ``load`` that the recipe adapts, and move those to ``device``.

        ``trigger`` is the word that new tokens stand for, if the recipe adds some, ``swap`` what ``place_denoiser`` returned.
        """
        components = {name: getattr(pipeline, name) for name in adapted_components(recipe, family)}
        for component in components.values():
            move(component, device)
        embeddings = {}
        if recipe.adapter.tokens:
            assert isinstance(family, ClipTextFamily)
            embeddings = family.token_embeddings(pipeline, trigger)
        with swap.reading() if swap is not None else contextlib.nullcontext():
            peft_adapter.attach(components, recipe, family)
        # What was attached to weights that wait in main memory is there too.
        move(components[family.denoiser_component], device)
        for name, vectors in embeddings.items():
            learned_tokens.initialize(components[name], vectors)
        if recipe.shard:
            shard(components[family.denoiser_component], device)
        return cls(
            family=family,
            adapted=Adapted(family, components),
            process=family.process(pipeline).to(device),
            precision=DTYPES[recipe.precision],
            device=device,
            learned_tokens={trigger: recipe.adapter.tokens} if recipe.adapter.tokens else {},
        )

    @property
    def components(self) -> dict[str, Any]:
        """The adapted components by name."""
        return dict(self.adapted.components.items())

    def predict(self, noisy: Tensor, times: Tensor, conditioning: Conditioning, wrapped: Any = None) -> Tensor:
        """Return what the denoiser predicts, float32; ``wrapped`` is the adapted module in its distributed wrapper, if any."""
        with torch.autocast(noisy.device.type, self.precision, enabled=self.precision != torch.float32):
            predicted: Tensor = (wrapped or self.adapted)(noisy, times, conditioning)
        return predicted.float()

    @contextlib.contextmanager
    def adapter_disabled(self) -> Iterator[None]:
        """Disable the adapter inside the block."""
        peft_adapter.enable(self.components, False)
        self.adapted.is_enabled = False
        try:
            yield
        finally:
            peft_adapter.enable(self.components, True)
            self.adapted.is_enabled = True
