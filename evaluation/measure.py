"""Images → figures: what every metric finds at every scale, by prompt."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from evaluation import metrics
from evaluation.distribution_metrics import set_figures
from evaluation.features import ExtractorSet, distance
from evaluation.metrics.base import PromptSamples, ReferenceStats
from evaluation.protocol import Protocol
from evaluation.reference_stats import NOTHING, gather, mean_pairwise_cosine
from evaluation.references import References
from evaluation.results import DIGITS, TRAINING, SampleResult
from evaluation.sweep import AdapterScale, Sweep


@dataclass
class Measured:
    """What was found.

    ``by_prompt``: adapter and scale → metric → prompt → value, averaged over seeds; ``at_base`` the same of the base's images
    of the same seeds. ``distances``: adapter and scale → prompt → mean pixel distance to the base. ``sets``: adapter and scale →
    figures of all their images with the trigger. ``samples`` carry what has a value for each image; ``ceiling`` is how like
    one another the held-out images are.
    """

    samples: list[SampleResult]
    known: ReferenceStats
    ceiling: float | None
    by_prompt: dict[AdapterScale, dict[str, dict[str, float]]] = field(default_factory=dict)
    at_base: dict[AdapterScale, dict[str, dict[str, float]]] = field(default_factory=dict)
    distances: dict[AdapterScale, dict[str, float]] = field(default_factory=dict)
    sets: dict[AdapterScale, dict[str, float]] = field(default_factory=dict)


def measure(
    samples: Sequence[SampleResult],
    folder: Path,
    protocol: Protocol,
    trigger: str,
    extractors: ExtractorSet,
    references: References,
) -> Measured:
    """Look at every answered image of the sweep in ``folder`` and at the concept's own, and apply every metric."""
    sweep = Sweep.of(samples, folder, extractors)
    if sweep is None:
        return Measured(list(samples), NOTHING, None)
    known = gather(sweep, protocol, trigger, extractors, references)
    found = Measured(list(samples), known, mean_pairwise_cosine(known.held_out))
    told: list[dict[str, float]] = [{} for _ in sweep.samples]
    for under, cell, places in sweep.cells():
        _apply(found, under, cell, [told[place] for place in places])
    apart = [_distance(sweep, place, folder) for place in range(len(sweep.samples))]
    for under, places in sweep.groups.items():
        found.distances[under] = _means((sweep.samples[place].prompt, apart[place]) for place in places)
        if under[0] is not None:
            references_seen = (each.features if each else None for each in (known.held_out, known.training))
            found.sets[under] = set_figures(sweep.with_trigger(under), *references_seen)
    nearest = _nearest(sweep, known, references)
    measured = {
        sample.sample: _told(sample, told[place], apart[place], nearest[place]) for place, sample in enumerate(sweep.samples)
    }
    found.samples = [measured.get(sample.sample, sample) for sample in samples]
    return found


def training_name(path: Path) -> str:
    """What a training image is called in the results' folder."""
    return f"{TRAINING}/{path.name}"


def _apply(found: Measured, under: AdapterScale, cell: PromptSamples, told: Sequence[dict[str, float]]) -> None:
    """Every metric of one cell, kept by prompt and, where it has a value for each image, in what is ``told`` of each."""
    base = replace(cell, images=cell.base)
    for metric in metrics.all_metrics():
        measured = [metric.of(each, found.known) for each in (cell, base)] if cell.stratum in metric.strata else [None]
        for kept, values in zip((found.by_prompt, found.at_base), measured, strict=False):
            if values is not None:
                kept.setdefault(under, {}).setdefault(metric.name, {})[cell.prompt] = float(values.mean())
        if measured[0] is not None and len(measured[0]) == len(told) > 1:
            for each, value in zip(told, measured[0], strict=True):
                each[metric.name] = round(float(value), DIGITS)


def _distance(sweep: Sweep, place: int, folder: Path) -> float | None:
    """The pixels' distance to the base's image; None where that is missing."""
    sample = sweep.samples[place]
    if sample.adapter is None:
        return 0.0
    base = sweep.base.get((sample.prompt, sample.seed))
    return None if base is None else distance(folder / str(sample.image), folder / str(sweep.samples[base].image))


def _nearest(sweep: Sweep, known: ReferenceStats, references: References) -> list[tuple[str, float] | None]:
    """For each image with the trigger the training image most like it, and their cosine."""
    if known.training is None:
        return [None] * len(sweep.samples)
    cosines = sweep.seen.features @ known.training.features.T
    names = [training_name(path) for path in references.training]
    return [
        None if sample.stratum == "control" else (names[int(row.argmax())], round(float(row.max()), DIGITS))
        for sample, row in zip(sweep.samples, cosines, strict=True)
    ]


def _told(sample: SampleResult, told: dict[str, float], apart: float | None, nearest: tuple[str, float] | None) -> SampleResult:
    """The sample with what was measured of it."""
    name, cosine = nearest or (None, None)
    moved = None if apart is None else round(apart, DIGITS)
    return sample.model_copy(update={"distance": moved, "metrics": told, "nearest": name, "nearest_cosine": cosine})


def _means(values: Iterable[tuple[str, float | None]]) -> dict[str, float]:
    """The mean of each prompt's values that are there."""
    groups: dict[str, list[float]] = {}
    for prompt, value in values:
        if value is not None:
            groups.setdefault(prompt, []).append(value)
    return {prompt: float(np.mean(found)) for prompt, found in groups.items()}
