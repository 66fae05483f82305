"""What both reports show, put in order: columns of scales, rows of prompts, the images in between."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evaluation import metrics
from evaluation.distribution_metrics import MEANINGS
from evaluation.metrics.base import Metric
from evaluation.protocol import STRATA, Stratum
from evaluation.results import Candidate, Results, SampleResult, read_samples
from evaluation.statistics import Interval

TITLES: dict[Stratum, str] = {
    "trained": "With the trigger, as in the captions",
    "novel": "With the trigger, in new contexts",
    "control": "Without the trigger",
}
_CLOSEST = 6


@dataclass(frozen=True)
class Row:
    """One prompt: ``images[seed][column]`` is the sample of that seed under that column's scale."""

    stratum: Stratum
    prompt: str
    images: dict[int, list[SampleResult]]


@dataclass(frozen=True)
class Column:
    """The base, or an adapter at a scale."""

    candidate: Candidate
    label: str
    is_recommended: bool


@dataclass(frozen=True)
class Shown:
    """Everything the reports show of the results in ``folder``."""

    folder: Path
    results: Results
    samples: tuple[SampleResult, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

    @property
    def seeds(self) -> list[int]:
        """The seeds that were asked for."""
        return list(self.results.settings["seeds"])

    @property
    def strata(self) -> list[tuple[str, list[Row]]]:
        """The rows by stratum, with its title, of those that have any."""
        found = [(TITLES[stratum], [row for row in self.rows if row.stratum == stratum]) for stratum in STRATA]
        return [(title, rows) for title, rows in found if rows]

    @property
    def measured(self) -> list[Metric]:
        """The metrics that have a figure at any scale."""
        return [each for each in metrics.all_metrics() if any(each.name in column.candidate.figures for column in self.columns)]

    @property
    def sets(self) -> dict[str, str]:
        """The figures of whole sets that there are, and what they mean."""
        return {name: told for name, told in MEANINGS.items() if any(name in column.candidate.sets for column in self.columns)}

    @property
    def pair(self) -> tuple[SampleResult, SampleResult] | None:
        """An image of the base and the adapter's of the same prompt and seed, at the recommended scale or the strongest."""
        place = next((place for place, column in enumerate(self.columns) if column.is_recommended), len(self.columns) - 1)
        for row in self.rows:
            for images in row.images.values():
                if images[0].image and images[place].image:
                    return images[0], images[place]
        return None

    @property
    def closest(self) -> list[SampleResult]:
        """The adapters' images most like a training image, at the recommended scale or the strongest, one a prompt."""
        place = next((place for place, column in enumerate(self.columns) if column.is_recommended), len(self.columns) - 1)
        found = [images[place] for row in self.rows for images in row.images.values()]
        near = sorted((each for each in found if each.nearest), key=lambda each: -(each.nearest_cosine or 0))
        by_prompt: dict[str, SampleResult] = {}
        for each in near:
            by_prompt.setdefault(each.prompt, each)
        return list(by_prompt.values())[:_CLOSEST]


def show(results: Results, folder: Path) -> Shown:
    """Put the results in ``folder`` in order."""
    samples = tuple(sample for sample in read_samples(folder) if sample.phase == "sweep")
    verdict, several = results.verdict, len(results.adapters) > 1
    columns = tuple(
        Column(
            each,
            _label(each, several),
            verdict.outcome == "recommended" and (each.adapter, each.lora_scale) == (verdict.adapter, verdict.lora_scale),
        )
        for each in results.candidates
    )
    return Shown(folder, results, samples, columns, _rows(samples, columns))


def interval(found: Interval | None, sign: bool = False) -> str:
    """An interval for people."""
    if found is None:
        return "–"
    form = "+.3f" if sign else ".3f"
    bounds = "" if found.low is None or found.high is None else f" [{found.low:{form}}, {found.high:{form}}]"
    return f"{found.mean:{form}}{bounds}"


def guards(candidate: Candidate) -> str:
    """What the guards found of a candidate, for people."""
    if candidate.adapter is None:
        return "–"
    failed, unknown = (
        [metrics.named(guard.metric).title for guard in candidate.guards if guard.passed is state] for state in (False, None)
    )
    told = f"✗ {', '.join(failed)}" if failed else "every guard passed" if not unknown else "no guard failed"
    return f"{told}; not measured: {', '.join(unknown)}" if unknown else told


def _label(candidate: Candidate, several: bool) -> str:
    if candidate.adapter is None:
        return "base"
    return f"{candidate.adapter} {candidate.lora_scale:g}" if several else f"{candidate.lora_scale:g}"


def _rows(samples: Sequence[SampleResult], columns: Sequence[Column]) -> tuple[Row, ...]:
    places = {(column.candidate.adapter, column.candidate.lora_scale): place for place, column in enumerate(columns)}
    found: dict[tuple[Stratum, str], dict[int, dict[int, SampleResult]]] = {}
    for sample in samples:
        by_seed = found.setdefault((sample.stratum, sample.prompt), {})
        by_seed.setdefault(sample.seed, {})[places[sample.adapter, sample.lora_scale]] = sample
    return tuple(
        Row(stratum, prompt, {seed: [of[place] for place in range(len(columns))] for seed, of in by_seed.items()})
        for (stratum, prompt), by_seed in found.items()
    )
