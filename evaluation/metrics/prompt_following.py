"""A guard: does an image still show what the rest of its prompt says?"""

from typing import ClassVar

from evaluation.metrics.base import Guard, Metric, PromptSamples, ReferenceStats, Values
from evaluation.protocol import WITH_TRIGGER, Stratum

_MAY_LOSE = 0.2
"""Of what the base's images have in common with their own prompts beyond other prompts, so much may be lost."""


class PromptFollowing(Metric):
    """CLIP-T (Hessel et al. 2021, arXiv 2104.08718), the trigger stripped from the prompt: its word means nothing to the
    extractor.
    """

    name: ClassVar[str] = "prompt_following"
    title: ClassVar[str] = "prompt following"
    meaning: ClassVar[str] = (
        "Cosine between an image with the trigger and the words of its prompt without the trigger (CLIP-T). It guards and never "
        f"decides: at most {_MAY_LOSE:.0%} of the base's lead over the other prompts' words may be lost."
    )
    strata: ClassVar[tuple[Stratum, ...]] = WITH_TRIGGER
    failure: ClassVar[str] = "it forgets the rest of the prompt"

    def of(self, cell: PromptSamples, known: ReferenceStats) -> Values | None:
        if cell.images.readable is None:
            return None
        found: Values = cell.images.readable @ known.texts[cell.prompt]
        return found

    def guard(self, known: ReferenceStats) -> Guard:
        return Guard(of="change", at_least=-_MAY_LOSE * max(0.0, known.lead or 0.0))


METRIC = PromptFollowing()
