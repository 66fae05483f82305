"""The generated images of a sweep and their features, in one order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from evaluation.arrays import Features
from evaluation.features.extraction import ExtractorSet
from evaluation.metrics.base import ImageFeatures, PromptSamples
from evaluation.protocol.plan import WITH_TRIGGER, Stratum
from evaluation.results import SampleResult

AdapterScale = tuple[str | None, float]
"""An adapter, or None for the base, and its scale."""


@dataclass(frozen=True)
class Sweep:
    """The ``samples`` (n) that were generated, and their ``image_features`` (n) in the same order."""

    samples: tuple[SampleResult, ...]
    image_features: ImageFeatures

    @classmethod
    def from_samples(cls, samples: Sequence[SampleResult], folder: Path, extractors: ExtractorSet) -> "Sweep | None":
        """Extract the features of the sweep's generated images in ``folder``.

        Return None if none of them is the base's, because everything is compared with the base.
        """
        generated = tuple(sample for sample in samples if sample.phase == "sweep" and sample.status == "ok")
        if not any(sample.adapter is None for sample in generated):
            return None
        return cls(generated, extractors.extract([folder / str(sample.image) for sample in generated]))

    @cached_property
    def base_indices(self) -> dict[tuple[str, int], int]:
        """Prompt and seed → the index of the base's image."""
        return {(sample.prompt, sample.seed): index for index, sample in enumerate(self.samples) if sample.adapter is None}

    @cached_property
    def indices(self) -> dict[AdapterScale, list[int]]:
        """Adapter and scale → the indices of its images."""
        indices: dict[AdapterScale, list[int]] = {}
        for index, sample in enumerate(self.samples):
            indices.setdefault((sample.adapter, sample.lora_scale), []).append(index)
        return indices

    def base_features(self, prompts: Sequence[str], features: Features) -> dict[str, Features]:
        """Return prompt → the rows of ``features`` of the base's images, for the prompts that have any."""
        indices = {
            prompt: [index for (base_prompt, _), index in self.base_indices.items() if base_prompt == prompt]
            for prompt in prompts
        }
        return {prompt: features[rows] for prompt, rows in indices.items() if rows}

    def features_with_trigger(self, adapter_scale: AdapterScale) -> Features:
        """Return the features of all images with the trigger of an adapter at a scale."""
        indices = [index for index in self.indices[adapter_scale] if self.samples[index].stratum in WITH_TRIGGER]
        return self.image_features.features[indices]

    def by_prompt(self) -> Iterator[tuple[AdapterScale, PromptSamples, list[int]]]:
        """Yield the images of each prompt at each scale, with the base's images of the same seeds, and their indices.

        Images without a base image of the same prompt and seed are left out.
        """
        groups: dict[tuple[AdapterScale, Stratum, str], list[int]] = {}
        for adapter_scale, indices in self.indices.items():
            for index in indices:
                sample = self.samples[index]
                if (sample.prompt, sample.seed) in self.base_indices:
                    groups.setdefault((adapter_scale, sample.stratum, sample.prompt), []).append(index)
        for (adapter_scale, stratum, prompt), indices in groups.items():
            base_indices = [self.base_indices[prompt, self.samples[index].seed] for index in indices]
            images, base = self.image_features.take(indices), self.image_features.take(base_indices)
            yield adapter_scale, PromptSamples(stratum, prompt, images, base), indices
