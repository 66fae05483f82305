"""The report, a pure function of the results: rendered twice it is the same bytes."""

import re
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from evaluation.results import REPORT, Results, SampleResult
from foundation.files import write_text


def render(results: Results) -> str:
    """The report as Markdown."""
    environment = Environment(
        loader=PackageLoader("evaluation"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["distance"] = lambda value: "–" if value is None else f"{value:.3f}"
    environment.filters["cell"] = _cell
    environment.filters["scale"] = lambda value: f"{value:g}"
    template = environment.get_template("report.md.j2")
    return template.render(results=results, headline=headline(results), strata=_strata(results.samples))


def write(results: Results, folder: Path) -> None:
    """Render ``report.md`` into ``folder``."""
    write_text(folder / REPORT, render(results))


def headline(results: Results) -> str:
    """What was measured, in one sentence."""
    strongest = max(results.scales, key=lambda scale: abs(scale.lora_scale))
    moved = f"At scale {strongest.lora_scale:g} pictures with the trigger differ from the base's by "
    moved += _percent(strongest.trigger_distance)
    still = f", pictures without it by {_percent(strongest.control_distance)}" if strongest.control_distance is not None else ""
    return f"{moved}{still} (mean absolute pixel difference; {results.answered} of {results.asked} pictures answered)."


def _cell(text: str) -> str:
    """Text that neither ends a table cell nor the description of a picture."""
    return re.sub(r"([|\[\]\\`*_])", r"\\\1", " ".join(text.split()))


def _percent(value: float | None) -> str:
    return "an unknown amount" if value is None else f"{value:.1%}"


def _strata(samples: Iterable[SampleResult]) -> dict[str, list[tuple[str, list[tuple[int, list[SampleResult]]]]]]:
    """Stratum → (prompt → (seed → its samples by scale)), in the order they were asked in."""
    strata: dict[str, list[tuple[str, list[tuple[int, list[SampleResult]]]]]] = {}
    for (stratum, prompt), of_prompt in groupby(samples, key=lambda sample: (sample.stratum, sample.prompt)):
        seeds = [(seed, list(of_seed)) for seed, of_seed in groupby(of_prompt, key=lambda sample: sample.seed)]
        strata.setdefault(stratum, []).append((prompt, seeds))
    return strata
