"""Compute every metric of the generated images at every scale, by prompt."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from evaluation import metrics
from evaluation.features.concept_images import References
from evaluation.features.extraction import ExtractorSet, pixel_distance
from evaluation.features.reference_stats import EMPTY, compute_reference_stats, mean_pairwise_cosine
from evaluation.features.sweep import AdapterScale, Sweep
from evaluation.metrics.base import PromptSamples, ReferenceStats
from evaluation.protocol.plan import Protocol
from evaluation.results import DIGITS, TRAINING, SampleResult
from evaluation.statistics.distribution_metrics import compute_set_metrics


@dataclass
class Measurements:
    """The values of all metrics.

    ``by_prompt``: adapter and scale → metric → prompt → value, averaged over seeds; ``base_by_prompt``: the same of the base's
    images of the same seeds. ``distances``: adapter and scale → prompt → mean pixel distance to the base. ``set_metrics``:
    adapter and scale → distribution metrics of all its images with the trigger. ``samples`` carry the metrics that have a value
    for each image; ``ceiling`` is the mean similarity of the held-out images to one another.
    """

    samples: list[SampleResult]
    reference_stats: ReferenceStats
    ceiling: float | None
    by_prompt: dict[AdapterScale, dict[str, dict[str, float]]] = field(default_factory=dict)
    base_by_prompt: dict[AdapterScale, dict[str, dict[str, float]]] = field(default_factory=dict)
    distances: dict[AdapterScale, dict[str, float]] = field(default_factory=dict)
    set_metrics: dict[AdapterScale, dict[str, float]] = field(default_factory=dict)


def measure(
    samples: Sequence[SampleResult],
    folder: Path,
    protocol: Protocol,
    trigger: str,
    extractors: ExtractorSet,
    references: References,
) -> Measurements:
    """Extract features from every generated image of the sweep in ``folder`` and from the references, and apply every metric."""
    sweep = Sweep.from_samples(samples, folder, extractors)
    if sweep is None:
        return Measurements(list(samples), EMPTY, None)
    reference_stats = compute_reference_stats(sweep, protocol, trigger, extractors, references)
    measurements = Measurements(list(samples), reference_stats, mean_pairwise_cosine(reference_stats.held_out))
    image_metrics: list[dict[str, float]] = [{} for _ in sweep.samples]
    for adapter_scale, prompt_samples, indices in sweep.by_prompt():
        _apply_metrics(measurements, adapter_scale, prompt_samples, [image_metrics[index] for index in indices])
    distances = [_distance_to_base(sweep, index, folder) for index in range(len(sweep.samples))]
    for adapter_scale, indices in sweep.indices.items():
        measurements.distances[adapter_scale] = _means((sweep.samples[index].prompt, distances[index]) for index in indices)
        if adapter_scale[0] is not None:
            reference_features = (
                images.features if images else None for images in (reference_stats.held_out, reference_stats.training)
            )
            generated = sweep.features_with_trigger(adapter_scale)
            measurements.set_metrics[adapter_scale] = compute_set_metrics(generated, *reference_features)
    nearest = _nearest_training_images(sweep, reference_stats, references)
    measured = {
        sample.sample: _with_measurements(sample, image_metrics[index], distances[index], nearest[index])
        for index, sample in enumerate(sweep.samples)
    }
    measurements.samples = [measured.get(sample.sample, sample) for sample in samples]
    return measurements


def training_image_name(path: Path) -> str:
    """Return the name of a training image in the results' folder."""
    return f"{TRAINING}/{path.name}"


def _apply_metrics(
    measurements: Measurements,
    adapter_scale: AdapterScale,
    prompt_samples: PromptSamples,
    image_metrics: Sequence[dict[str, float]],
) -> None:
    """Compute every metric of ``prompt_samples``.

    Means go into ``measurements``; values of single images, where a metric has them, into ``image_metrics``, one entry per image.
    """
    base = replace(prompt_samples, images=prompt_samples.base)
    reference_stats = measurements.reference_stats
    for metric in metrics.all_metrics():
        measured = (
            [metric.compute(images, reference_stats) for images in (prompt_samples, base)]
            if prompt_samples.stratum in metric.strata
            else [None]
        )
        for by_prompt, values in zip((measurements.by_prompt, measurements.base_by_prompt), measured, strict=False):
            if values is not None:
                by_metric = by_prompt.setdefault(adapter_scale, {})
                by_metric.setdefault(metric.name, {})[prompt_samples.prompt] = float(values.mean())
        if measured[0] is not None and len(measured[0]) == len(image_metrics) > 1:
            for metrics_of_image, value in zip(image_metrics, measured[0], strict=True):
                metrics_of_image[metric.name] = round(float(value), DIGITS)


def _distance_to_base(sweep: Sweep, index: int, folder: Path) -> float | None:
    """Return the pixel distance of a sample to the base's image of the same prompt and seed; None if that does not exist."""
    sample = sweep.samples[index]
    if sample.adapter is None:
        return 0.0
    base = sweep.base_indices.get((sample.prompt, sample.seed))
    return None if base is None else pixel_distance(folder / str(sample.image), folder / str(sweep.samples[base].image))


def _nearest_training_images(
    sweep: Sweep, reference_stats: ReferenceStats, references: References
) -> list[tuple[str, float] | None]:
    """Return, for each image with the trigger, the name of the most similar training image and their cosine."""
    if reference_stats.training is None:
        return [None] * len(sweep.samples)
    cosines = sweep.image_features.features @ reference_stats.training.features.T
    names = [training_image_name(path) for path in references.training]
    return [
        None if sample.stratum == "control" else (names[int(row.argmax())], round(float(row.max()), DIGITS))
        for sample, row in zip(sweep.samples, cosines, strict=True)
    ]


def _with_measurements(
    sample: SampleResult, image_metrics: dict[str, float], distance: float | None, nearest: tuple[str, float] | None
) -> SampleResult:
    """Return the sample with its measurements filled in."""
    name, cosine = nearest or (None, None)
    rounded_distance = None if distance is None else round(distance, DIGITS)
    measured = {"distance": rounded_distance, "metrics": image_metrics, "nearest": name, "nearest_cosine": cosine}
    return sample.model_copy(update=measured)


def _means(values: Iterable[tuple[str, float | None]]) -> dict[str, float]:
    """Return prompt → mean of its values that are not None."""
    groups: dict[str, list[float]] = {}
    for prompt, value in values:
        if value is not None:
            groups.setdefault(prompt, []).append(value)
    return {prompt: float(np.mean(group)) for prompt, group in groups.items()}
