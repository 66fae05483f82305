"""A guard: does an image still show what the rest of its prompt says?"""

from typing import ClassVar

from evaluation.arrays import Values
from evaluation.metrics.base import Guard, Metric, PromptSamples, ReferenceStats
from evaluation.protocol.plan import WITH_TRIGGER, Stratum

_MAX_LOSS = 0.2
"""Share that may be lost of the base's text margin: the similarity of its images to their own prompts beyond other prompts."""


class PromptFollowing(Metric):
    """CLIP-T (Hessel et al. 2021, arXiv 2104.08718), without the trigger, because that word means nothing to the extractor."""

    name: ClassVar[str] = "prompt_following"
    title: ClassVar[str] = "prompt following"
    meaning: ClassVar[str] = (
        "Cosine between an image with the trigger and its prompt without the trigger (CLIP-T). It guards and never decides: the "
        "base's images are closer to their own prompt than to other prompts, and at most "
        f"{_MAX_LOSS:.0%} of that margin may be lost."
    )
    strata: ClassVar[tuple[Stratum, ...]] = WITH_TRIGGER
    failure: ClassVar[str] = "it ignores the rest of the prompt"

    def compute(self, prompt_samples: PromptSamples, reference_stats: ReferenceStats) -> Values | None:
        image_features = prompt_samples.images.text_aligned
        if image_features is None:
            return None
        similarity: Values = image_features @ reference_stats.texts[prompt_samples.prompt]
        return similarity

    def guard(self, reference_stats: ReferenceStats) -> Guard:
        return Guard(of="change", at_least=-_MAX_LOSS * max(0.0, reference_stats.text_margin or 0.0))


METRIC = PromptFollowing()
