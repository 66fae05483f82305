"""For comparison: would people like it?"""

from typing import ClassVar

from evaluation.metrics.base import Metric, PromptSamples, ReferenceStats, Values
from evaluation.protocol import WITH_TRIGGER, Stratum


class Preference(Metric):
    """PickScore of an image for the words of its prompt without the trigger, where that extractor is asked for."""

    name: ClassVar[str] = "preference"
    title: ClassVar[str] = "preference"
    meaning: ClassVar[str] = "PickScore's cosine between an image with the trigger and its prompt's words without it. It informs."
    strata: ClassVar[tuple[Stratum, ...]] = WITH_TRIGGER

    def of(self, cell: PromptSamples, known: ReferenceStats) -> Values | None:
        if cell.images.liked is None:
            return None
        found: Values = cell.images.liked @ known.wishes[cell.prompt]
        return found


METRIC = Preference()
