"""Arrange what both reports show: scales as columns, prompts as rows, and the images of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evaluation import metrics
from evaluation.metrics.base import Metric
from evaluation.protocol.plan import STRATA, Stratum
from evaluation.results import Candidate, Results, SampleResult, read_samples
from evaluation.statistics.distribution_metrics import DESCRIPTIONS
from evaluation.statistics.intervals import Interval

TITLES: dict[Stratum, str] = {
    "trained": "With the trigger, as in the captions",
    "novel": "With the trigger, in new contexts",
    "control": "Without the trigger",
}
_MAX_CLOSEST = 6


@dataclass(frozen=True)
class Row:
    """One prompt: ``images[seed][column]`` is the sample of that seed at that column's scale."""

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
class ReportView:
    """Everything that the reports show of the results in ``folder``."""

    folder: Path
    results: Results
    samples: tuple[SampleResult, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

    @property
    def seeds(self) -> list[int]:
        """The requested seeds."""
        return list(self.results.settings["seeds"])

    @property
    def strata(self) -> list[tuple[str, list[Row]]]:
        """The title and rows of each stratum that has rows."""
        strata = [(TITLES[stratum], [row for row in self.rows if row.stratum == stratum]) for stratum in STRATA]
        return [(title, rows) for title, rows in strata if rows]

    @property
    def measured_metrics(self) -> list[Metric]:
        """The metrics that were measured at any scale."""
        return [
            metric for metric in metrics.all_metrics() if any(metric.name in column.candidate.figures for column in self.columns)
        ]

    @property
    def set_metrics(self) -> dict[str, str]:
        """The name and description of each distribution metric that was measured at any scale."""
        return {
            name: description
            for name, description in DESCRIPTIONS.items()
            if any(name in column.candidate.set_metrics for column in self.columns)
        }

    @property
    def pair(self) -> tuple[SampleResult, SampleResult] | None:
        """An image of the base and the adapter's of the same prompt and seed, at the recommended or the strongest scale."""
        index = self._shown_column
        for row in self.rows:
            for images in row.images.values():
                if images[0].image and images[index].image:
                    return images[0], images[index]
        return None

    @property
    def closest(self) -> list[SampleResult]:
        """The adapter's images most similar to a training image, at the recommended or the strongest scale, one per prompt."""
        index = self._shown_column
        samples = [images[index] for row in self.rows for images in row.images.values()]
        ordered = sorted((sample for sample in samples if sample.nearest), key=lambda sample: -(sample.nearest_cosine or 0))
        by_prompt: dict[str, SampleResult] = {}
        for sample in ordered:
            by_prompt.setdefault(sample.prompt, sample)
        return list(by_prompt.values())[:_MAX_CLOSEST]

    @property
    def _shown_column(self) -> int:
        """The index of the recommended column, or else of the last one."""
        return next((index for index, column in enumerate(self.columns) if column.is_recommended), len(self.columns) - 1)


def build_view(results: Results, folder: Path) -> ReportView:
    """Arrange the results in ``folder`` for the reports."""
    samples = tuple(sample for sample in read_samples(folder) if sample.phase == "sweep")
    verdict, has_several = results.verdict, len(results.adapters) > 1
    columns = tuple(
        Column(
            candidate,
            _label(candidate, has_several),
            verdict.outcome == "recommended"
            and (candidate.adapter, candidate.lora_scale) == (verdict.adapter, verdict.lora_scale),
        )
        for candidate in results.candidates
    )
    return ReportView(folder, results, samples, columns, _rows(samples, columns))


def format_interval(interval: Interval | None, sign: bool = False) -> str:
    """Return a mean and its interval as text, with a plus sign for positive values if ``sign``."""
    if interval is None:
        return "–"
    form = "+.3f" if sign else ".3f"
    bounds = "" if interval.low is None or interval.high is None else f" [{interval.low:{form}}, {interval.high:{form}}]"
    return f"{interval.mean:{form}}{bounds}"


def format_guards(candidate: Candidate) -> str:
    """Return the findings of a candidate's guards as text."""
    if candidate.adapter is None:
        return "–"
    failed, unmeasured = (
        [metrics.get_metric(guard.metric).title for guard in candidate.guards if guard.passed is state] for state in (False, None)
    )
    text = f"✗ {', '.join(failed)}" if failed else "every guard passed" if not unmeasured else "no guard failed"
    return f"{text}; not measured: {', '.join(unmeasured)}" if unmeasured else text


def _label(candidate: Candidate, has_several: bool) -> str:
    if candidate.adapter is None:
        return "base"
    return f"{candidate.adapter} {candidate.lora_scale:g}" if has_several else f"{candidate.lora_scale:g}"


def _rows(samples: Sequence[SampleResult], columns: Sequence[Column]) -> tuple[Row, ...]:
    indices = {(column.candidate.adapter, column.candidate.lora_scale): index for index, column in enumerate(columns)}
    rows: dict[tuple[Stratum, str], dict[int, dict[int, SampleResult]]] = {}
    for sample in samples:
        by_seed = rows.setdefault((sample.stratum, sample.prompt), {})
        by_seed.setdefault(sample.seed, {})[indices[sample.adapter, sample.lora_scale]] = sample
    return tuple(
        Row(
            stratum,
            prompt,
            {seed: [by_column[index] for index in range(len(columns))] for seed, by_column in by_seed.items()},
        )
        for (stratum, prompt), by_seed in rows.items()
    )
