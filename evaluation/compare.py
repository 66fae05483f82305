"""Compare two adapters or two runs prompt by prompt: is the second better, worse, or neither?"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evaluation import metrics
from evaluation.results import OUT, Candidate, Results, read_results
from evaluation.statistics.intervals import Interval, cluster_t, sign_flip
from foundation.errors import DONE, FAILED, BadInput, command


@dataclass(frozen=True)
class ComparedAdapter:
    """One of the two compared: an adapter at a scale, from the results of a run."""

    results: Results
    candidate: Candidate

    @property
    def name(self) -> str:
        """Its name in a table."""
        return f"{self.results.run}: {self.candidate.adapter} at {self.candidate.lora_scale:g}"


@dataclass(frozen=True)
class Difference:
    """A metric of both over the prompts they share; ``change`` is the second minus the first, ``p`` two-sided."""

    metric: str
    first: Interval
    second: Interval
    change: Interval
    p: float


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Compare two adapters; exit code 0 done, 1 the second is worse and ``--fail-if-worse`` was given, 2 bad input."""
    arguments = _parser().parse_args(argv)
    first = find_adapter(arguments.first, arguments.scale_a)  # 1. which two
    second = find_adapter(arguments.second, arguments.scale_b)
    check_comparable(first, second)  # 2. whether they can be compared
    differences = compute_differences(first, second)  # 3. prompt by prompt
    regressions = find_regressions(first, second, differences)
    if arguments.json:  # 4. report
        print(json.dumps(_plain(first, second, differences, regressions)))
    else:
        print(format_table(first, second, differences))
        for regression in regressions:
            print(f"worse: {regression}")
    return FAILED if regressions and arguments.fail_if_worse else DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m evaluation compare",
        description="Compare the second of two evaluated adapters with the first, over the prompts that both were evaluated on. "
        "Each is given as a run's name or the folder of its report, followed by :ADAPTER if the run has several. It is compared "
        "at its recommended scale, or at its strongest scale if none is recommended.",
    )
    parser.add_argument("first", metavar="A", help="the adapter to compare with")
    parser.add_argument("second", metavar="B", help="the adapter that is compared")
    parser.add_argument("--scale-a", type=float, help="the scale of the first")
    parser.add_argument("--scale-b", type=float, help="the scale of the second")
    parser.add_argument("--json", action="store_true", help="print JSON, for another program")
    parser.add_argument("--fail-if-worse", action="store_true", help="exit with code 1 if the second is significantly worse")
    return parser


def find_adapter(spec: str, scale: float | None) -> ComparedAdapter:
    """Return the adapter that ``RUN[:ADAPTER]`` names; ``BadInput`` lists the adapters or scales that exist."""
    folder, adapter = _parse_spec(spec)
    results = read_results(folder)
    names = [evaluated.name for evaluated in results.adapters]
    if adapter is None and len(names) > 1 and results.verdict.outcome != "recommended":
        raise BadInput(f"{spec}: has several adapters; name one of {', '.join(names)}, for example {spec}:{names[0]}.")
    chosen = adapter or results.verdict.adapter or names[0]
    if scale is None and results.verdict.adapter == chosen:
        scale = results.verdict.lora_scale
    candidates = [candidate for candidate in results.candidates if candidate.adapter == chosen]
    if not candidates:
        raise BadInput(f"{spec}: has no adapter named {chosen!r}, only {', '.join(names)}.")
    match = (
        candidates[-1] if scale is None else next((candidate for candidate in candidates if candidate.lora_scale == scale), None)
    )
    if match is None:
        scales = ", ".join(f"{candidate.lora_scale:g}" for candidate in candidates)
        raise BadInput(f"{spec}: was not evaluated at scale {scale:g}, only at {scales}.")
    return ComparedAdapter(results, match)


def _parse_spec(spec: str) -> tuple[Path, str | None]:
    for path in (Path(spec), OUT / spec):
        if path.is_dir():
            return path, None
    run, colon, adapter = spec.rpartition(":")
    if colon:
        return _parse_spec(run)[0], adapter
    raise BadInput(f"{spec}: neither a folder nor a run in {OUT}.")


def check_comparable(first: ComparedAdapter, second: ComparedAdapter) -> None:
    """Raise ``BadInput`` if the figures of the two do not have the same meaning."""
    for adapter in (first, second):
        if adapter.results.is_void:
            raise BadInput(f"{adapter.results.run}: a gate failed in this run, so its figures are not valid.")
    first_facts, second_facts = _comparison_key(first.results), _comparison_key(second.results)
    for name in {**first_facts, **second_facts}:
        if first_facts.get(name) != second_facts.get(name):
            raise BadInput(
                f"{first.results.run} and {second.results.run} do not have the same {name}, so they cannot be compared."
            )


def _comparison_key(results: Results) -> dict[str, object]:
    """Return what two results must have in common to be compared."""
    return {
        "base": results.base["sha256"],
        "extractors": results.extractors,
        "held-out images": results.dataset["held_out_sha256"],
        "protocol": results.protocol_version,
        **{name: value for name, value in results.settings.items() if name not in ("scales", "trigger")},
    }


def compute_differences(first: ComparedAdapter, second: ComparedAdapter) -> list[Difference]:
    """Return the difference of every metric that both have, over the prompts that both were evaluated on.

    Raises ``BadInput`` if they share fewer than two prompts for the primary metric.
    """
    differences = []
    for metric in metrics.all_metrics():
        first_values, second_values = (adapter.candidate.by_prompt.get(metric.name, {}) for adapter in (first, second))
        shared = [prompt for prompt in first_values if prompt in second_values]
        if len(shared) > 1:
            pairs = [(first_values[prompt], second_values[prompt]) for prompt in shared]
            changes = [after - before for before, after in pairs]
            p = min(1.0, 2 * min(sign_flip(changes), sign_flip([-change for change in changes])))
            intervals = (cluster_t([before for before, _ in pairs]), cluster_t([after for _, after in pairs]))
            differences.append(Difference(metric.name, *intervals, cluster_t(changes), p))
    if not any(difference.metric == metrics.PRIMARY for difference in differences):
        raise BadInput(
            f"{first.results.run} and {second.results.run} share fewer than two prompts with a measured similarity to held-out "
            "images, so they cannot be compared."
        )
    return differences


def find_regressions(first: ComparedAdapter, second: ComparedAdapter, differences: Sequence[Difference]) -> list[str]:
    """Return in what the second is worse: its primary metric is significantly lower, or it does not pass a guard that the
    first passes.
    """
    regressions = []
    for difference in differences:
        change = difference.change
        if difference.metric == metrics.PRIMARY and change.high is not None and change.high < 0:
            regressions.append(f"{difference.metric} by {change.mean:+.3f} [{change.low:+.3f}, {change.high:+.3f}]")
    second_passes = {guard.metric: guard.passed for guard in second.candidate.guards}
    for guard in first.candidate.guards:
        if guard.passed and not second_passes.get(guard.metric):
            problem = "fails" if second_passes.get(guard.metric) is False else "was not measured"
            regressions.append(f"guard {guard.metric} {problem}")
    return regressions


def format_table(first: ComparedAdapter, second: ComparedAdapter, differences: Sequence[Difference]) -> str:
    """Return the comparison as lines for a terminal."""
    lines = [f"A  {first.name}", f"B  {second.name}", "", f"{'metric':18}{'A':>9}{'B':>9}{'B − A':>9}  95 % interval       p"]
    for difference in differences:
        change = difference.change
        bounds = f"[{change.low:+.3f}, {change.high:+.3f}]"
        row = f"{difference.metric:18}{difference.first.mean:9.3f}{difference.second.mean:9.3f}{change.mean:+9.3f}  {bounds:18}"
        lines.append(f"{row}{difference.p:7.3f}   {change.prompts} prompts")
    return "\n".join(lines)


def _plain(
    first: ComparedAdapter, second: ComparedAdapter, differences: Sequence[Difference], regressions: Sequence[str]
) -> dict[str, object]:
    return {
        "first": first.name,
        "second": second.name,
        "differences": [
            {
                "metric": difference.metric,
                "first": difference.first.model_dump(),
                "second": difference.second.model_dump(),
                "change": difference.change.model_dump(),
                "p": difference.p,
            }
            for difference in differences
        ],
        "worse": list(regressions),
    }
