"""For comparison: would people prefer the image?"""

from typing import ClassVar

from evaluation.arrays import Values
from evaluation.metrics.base import Metric, PromptSamples, ReferenceStats
from evaluation.protocol.plan import WITH_TRIGGER, Stratum


class Preference(Metric):
    """PickScore of an image for its prompt without the trigger, if that extractor is among the protocol's."""

    name: ClassVar[str] = "preference"
    title: ClassVar[str] = "preference"
    meaning: ClassVar[str] = (
        "PickScore's cosine between an image with the trigger and its prompt without the trigger. It only informs."
    )
    strata: ClassVar[tuple[Stratum, ...]] = WITH_TRIGGER

    def compute(self, prompt_samples: PromptSamples, reference_stats: ReferenceStats) -> Values | None:
        image_features = prompt_samples.images.preference_features
        if image_features is None:
            return None
        preference_similarity: Values = image_features @ reference_stats.preference_texts[prompt_samples.prompt]
        return preference_similarity


METRIC = Preference()
