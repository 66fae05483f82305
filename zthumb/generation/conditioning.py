"""What the denoiser is told at each step: prompts that stay, prompts that change from step to step, prompts of several parts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from zthumb import prompts
from zthumb.prompts.base import Part

if TYPE_CHECKING:
    from zthumb.families.base import Family
    from zthumb.generation.image_generator import GenerationParams

_Embeds = tuple[Tensor, Tensor]
"""Text states (B, tokens, width) and pooled embeddings (B, width)."""


class PromptConditioning:
    """The embeddings of images that differ in prompts and seeds alone.

    Prompts that change or have parts are the same for all of the images; which images go together is decided elsewhere.
    """

    def __init__(self, batch: Sequence[GenerationParams], pipeline: Any, family: Family, words: Mapping[str, int]) -> None:
        self._pipeline, self._family, self._words = pipeline, family, words
        first = batch[0]
        self._parser, self._count, self._step = prompts.get(first.prompt_parser), len(batch), 0
        self._parts = [self._parser.parts_of(params.prompt, first.steps) for params in batch]
        # Without any the pipeline tells the denoiser zeros, which is not the same as an empty prompt.
        is_told = first.guidance_scale > 1 and any(params.negative_prompt is not None for params in batch)
        negatives = [params.negative_prompt or "" for params in batch] if is_told else []
        self._negatives = [self._parser.parts_of(text, first.steps)[0] for text in negatives]
        self._encoded = self._encode()

    def _encode(self) -> Mapping[str, _Embeds]:
        """Every text that is told at any step, all of one length."""
        parts = [part for parts in self._parts for part in parts] + self._negatives
        texts = dict.fromkeys(text for part in parts for text in part.texts)
        found = {text: self._parser.encode(text, self._pipeline, self._family, self._words) for text in texts}
        longest = max(states.shape[1] for states, _ in found.values())
        return {text: (self._filled_up(states, longest), pooled) for text, (states, pooled) in found.items()}

    def _filled_up(self, states: Tensor, length: int) -> Tensor:
        """States (1, tokens, width) made ``length`` tokens long by pieces that say nothing."""
        if states.shape[1] == length:
            return states
        nothing, _ = self._family.encode_prompts(self._pipeline, [""])
        return torch.cat([states, *[nothing] * ((length - states.shape[1]) // nothing.shape[1])], dim=1)

    def told(self) -> dict[str, Tensor]:
        """What the pipeline is given before the first step, by its names."""
        states, pooled = self._at([parts[0] for parts in self._parts], 0)
        told = {"prompt_embeds": states, "pooled_prompt_embeds": pooled}
        if self._negatives:
            states, pooled = self._at(self._negatives, 0)
            told |= {"negative_prompt_embeds": states, "negative_pooled_prompt_embeds": pooled}
        return told

    @property
    def changes(self) -> bool:
        """Whether anything that is told is another thing at another step."""
        return not all(part.is_constant for part in [*(part for parts in self._parts for part in parts), *self._negatives])

    def go_on(self, step: int, values: dict[str, Any]) -> None:
        """Tell the pipeline what is told at ``step``, from 0, by the ``values`` it holds between its steps."""
        self._step = step
        if not self.changes:
            return
        states, pooled = self._at([parts[0] for parts in self._parts], step)
        before = values["prompt_embeds"], values["add_text_embeds"]
        if len(before[0]) > self._count:
            # With guidance the pipeline holds the negative prompts' before those of the prompts.
            negative = self._at(self._negatives, step) if self._negatives else tuple(each[: self._count] for each in before)
            states, pooled = (torch.cat(pair) for pair in zip(negative, (states, pooled), strict=True))
        values["prompt_embeds"], values["add_text_embeds"] = (
            new.to(old) for new, old in zip((states, pooled), before, strict=True)
        )

    @contextlib.contextmanager
    def divided(self, denoiser: nn.Module) -> Iterator[None]:
        """The denoiser predicting, for the length of the block, each part of the prompts by itself.

        The prediction is that without a prompt, and the weighted sum of what each part adds to it (composable diffusion, arXiv
        2206.01714). There must be guidance.
        """
        others = [list(parts) for parts in zip(*(parts[1:] for parts in self._parts), strict=True)]
        if not others and all(parts[0].weight == 1 for parts in self._parts):
            yield
            return

        def add(module: nn.Module, given: tuple[Any, ...], named: dict[str, Any], made: Any) -> Any:
            without, first = made[0].chunk(2)
            added = self._parts[0][0].weight * (first - without)
            for parts in others:
                added = added + parts[0].weight * (self._predicted(module, parts, given, named) - without)
            return (torch.cat([without, without + added]), *made[1:])

        handle = denoiser.register_forward_hook(add, with_kwargs=True)
        try:
            yield
        finally:
            handle.remove()

    def _predicted(self, denoiser: nn.Module, parts: list[Part], given: tuple[Any, ...], named: dict[str, Any]) -> Tensor:
        """What the denoiser predicts for ``parts``, one of each image, in the place of what it was told."""
        states, pooled = self._at(parts, self._step)
        noisy, *rest = given
        conditions = {name: value.chunk(2)[1] for name, value in named["added_cond_kwargs"].items()}
        conditions["text_embeds"] = pooled.to(conditions["text_embeds"])
        changed = {"encoder_hidden_states": states.to(named["encoder_hidden_states"]), "added_cond_kwargs": conditions}
        predicted: Tensor = denoiser.forward(noisy.chunk(2)[1], *rest, **{**named, **changed})[0]
        return predicted

    def _at(self, parts: Sequence[Part], step: int) -> _Embeds:
        texts = [part.texts[min(step, len(part.texts) - 1)] for part in parts]
        dtype = self._pipeline.dtype
        states, pooled = (torch.cat(each).to(dtype) for each in zip(*(self._encoded[text] for text in texts), strict=True))
        return states, pooled
