"""The conditioning of each step: prompts that stay, prompts that change from step to step, prompts of several parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zthumb.families.base import ImageSize
from zthumb.generation import prompts

if TYPE_CHECKING:
    from zthumb.diffusion.conditioning import Conditioning
    from zthumb.families.base import ModelFamily
    from zthumb.generation.parameters import GenerationParams
    from zthumb.generation.prompts.base import Part


class PromptSchedule:
    """The conditioning of a batch of images that differ in prompts and seeds alone (``zthumb.diffusion.sampling``).

    Prompts that change or have parts are the same for all images of the batch; which images form one is decided elsewhere.
    """

    def __init__(
        self, batch: Sequence[GenerationParams], pipeline: Any, family: ModelFamily, learned_tokens: Mapping[str, int]
    ) -> None:
        self._pipeline, self._family, self._learned_tokens = pipeline, family, learned_tokens
        self._first, self._count = batch[0], len(batch)
        self._guidance = self._first.guidance(family)
        self._parser = prompts.get(self._first.prompt_parser)
        parts = [self._parser.parts_of(params.prompt, self._first.steps) for params in batch]
        # Per part of the prompt, that part of each image's.
        self._parts: list[tuple[Part, ...]] = list(zip(*parts, strict=True))
        self._negatives = self._negative_parts(batch)
        self._encoded = self._encode()
        # Most prompts stay as they are, and need not be put together at each step.
        self._made: dict[tuple[str, ...], Conditioning] = {}
        # Now, while the text encoders are there.
        self._unconditional = self._encode_nothing() if self._guidance.is_used and not self._negatives else None

    def parts(self, step: int) -> Sequence[tuple[Conditioning, float]]:
        """See ``StepConditioning``."""
        return [(self._guided(self._at(images, step), step), images[0].weight) for images in self._parts]

    def negative(self, step: int) -> Conditioning | None:
        """See ``StepConditioning``."""
        if not self._guidance.is_used:
            return None
        negative = self._at(self._negatives, step) if self._negatives else self._unconditional
        return None if negative is None else self._guided(negative, step)

    def changes_at(self, step: int) -> bool:
        """See ``StepConditioning``."""
        parts = [part for images in (*self._parts, self._negatives) for part in images]
        return step > 0 and any(_text(part, step) != _text(part, step - 1) for part in parts)

    def _guided(self, conditioning: Conditioning, step: int) -> Conditioning:
        """The conditioning with what a denoiser is told of the guidance at that step."""
        now = self._guidance.at(step, self._first.steps)
        return self._family.with_guidance(self._family.denoiser(self._pipeline), conditioning, now)

    def _encode_nothing(self) -> Conditioning:
        like = next(iter(self._encoded.values()))
        return self._completed(self._family.unconditional(self._pipeline, like).select([0] * self._count))

    def _negative_parts(self, batch: Sequence[GenerationParams]) -> tuple[Part, ...]:
        """The negative prompts; none where no image has one, which is not the same as an empty prompt."""
        if not self._guidance.is_used or all(params.negative_prompt is None for params in batch):
            return ()
        texts = [params.negative_prompt or "" for params in batch]
        return tuple(self._parser.parts_of(text, self._first.steps)[0] for text in texts)

    def _encode(self) -> Mapping[str, Conditioning]:
        """Every text of any step, all padded to one length."""
        parts = [part for images in (*self._parts, self._negatives) for part in images]
        texts = list(dict.fromkeys(text for part in parts for text in part.texts))
        encoded = [self._parser.encode(text, self._pipeline, self._family, self._learned_tokens) for text in texts]
        return dict(zip(texts, self._family.equalize(self._pipeline, encoded), strict=True))

    def _at(self, images: Sequence[Part], step: int) -> Conditioning:
        texts = tuple(_text(part, step) for part in images)
        if texts not in self._made:
            conditioning = self._encoded[texts[0]]
            for text in texts[1:]:
                conditioning = conditioning.concat(self._encoded[text])
            self._made[texts] = self._completed(conditioning)
        return self._made[texts]

    def _completed(self, conditioning: Conditioning) -> Conditioning:
        height, width = self._first.height, self._first.width
        original = self._first.original_size[::-1] if self._first.original_size else (height, width)
        sizes = [ImageSize(original, (0, 0), (height, width))] * self._count
        return self._family.with_sizes(conditioning.to(dtype=self._family.dtype(self._pipeline)), sizes)


def _text(part: Part, step: int) -> str:
    return part.texts[min(step, len(part.texts) - 1)]
