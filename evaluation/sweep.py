"""The answered images of a sweep and what was seen of them, in one order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from evaluation.extractors.base import Features
from evaluation.features import ExtractorSet
from evaluation.metrics.base import ImageFeatures, PromptSamples
from evaluation.protocol import WITH_TRIGGER, Stratum
from evaluation.results import SampleResult

AdapterScale = tuple[str | None, float]
"""An adapter, or None for the base, and its scale."""


@dataclass(frozen=True)
class Sweep:
    """``samples`` (n) that were answered and have their place in ``seen`` (n)."""

    samples: tuple[SampleResult, ...]
    seen: ImageFeatures

    @classmethod
    def of(cls, samples: Sequence[SampleResult], folder: Path, extractors: ExtractorSet) -> "Sweep | None":
        """Look at the sweep's answered images in ``folder``; None when the base has none there, for all is compared with it."""
        swept = tuple(sample for sample in samples if sample.phase == "sweep" and sample.status == "ok")
        if not any(sample.adapter is None for sample in swept):
            return None
        return cls(swept, extractors.look([folder / str(sample.image) for sample in swept]))

    @cached_property
    def base(self) -> dict[tuple[str, int], int]:
        """Prompt and seed → the place of the base's image."""
        return {(each.prompt, each.seed): place for place, each in enumerate(self.samples) if each.adapter is None}

    @cached_property
    def groups(self) -> dict[AdapterScale, list[int]]:
        """Adapter and scale → the places of its images."""
        found: dict[AdapterScale, list[int]] = {}
        for place, sample in enumerate(self.samples):
            found.setdefault((sample.adapter, sample.lora_scale), []).append(place)
        return found

    def base_of(self, prompts: Sequence[str], features: Features) -> dict[str, Features]:
        """Prompt → the rows of ``features`` that are of the base's images of it, of the prompts that have any."""
        found = {prompt: [place for (each, _), place in self.base.items() if each == prompt] for prompt in prompts}
        return {prompt: features[places] for prompt, places in found.items() if places}

    def with_trigger(self, under: AdapterScale) -> Features:
        """The features of all images with the trigger of an adapter at a scale."""
        return self.seen.features[[place for place in self.groups[under] if self.samples[place].stratum in WITH_TRIGGER]]

    def cells(self) -> Iterator[tuple[AdapterScale, PromptSamples, list[int]]]:
        """The images of each prompt at each scale that the base's of the same seeds are there for, and their places."""
        found: dict[tuple[AdapterScale, Stratum, str], list[int]] = {}
        for under, places in self.groups.items():
            for place in places:
                sample = self.samples[place]
                if (sample.prompt, sample.seed) in self.base:
                    found.setdefault((under, sample.stratum, sample.prompt), []).append(place)
        for (under, stratum, prompt), places in found.items():
            same = [self.base[prompt, self.samples[place].seed] for place in places]
            yield under, PromptSamples(stratum, prompt, self.seen.take(places), self.seen.take(same)), places
