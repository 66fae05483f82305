"""Two adapters or two runs compared, prompt by prompt: is the second better, worse, or neither?"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evaluation import metrics
from evaluation.results import OUT, Candidate, Results, read_results
from evaluation.statistics import Interval, cluster_t, sign_flip
from foundation.errors import DONE, FAILED, BadInput, command


@dataclass(frozen=True)
class Side:
    """One of the two: an adapter at a scale, out of the results of a run."""

    results: Results
    candidate: Candidate

    @property
    def name(self) -> str:
        """How it is called in a table."""
        return f"{self.results.run}: {self.candidate.adapter} at {self.candidate.lora_scale:g}"


@dataclass(frozen=True)
class Difference:
    """A metric of both over the prompts they share, and by how much the second's is higher."""

    metric: str
    first: Interval
    second: Interval
    change: Interval
    p: float


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Compare two; exit code 0 done, 1 the second is worse and that was asked to fail, 2 bad input."""
    arguments = _parser().parse_args(argv)
    first, second = side(arguments.first, arguments.scale_a), side(arguments.second, arguments.scale_b)  # 1. which two
    check(first, second)  # 2. can they be compared
    found = differences(first, second)  # 3. prompt by prompt
    print(table(first, second, found))  # 4. say it
    faults = worse(first, second, found)
    for fault in faults:
        print(f"worse: {fault}")
    return FAILED if faults and arguments.fail_if_worse else DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m evaluation compare",
        description="Compare the second of two evaluated adapters with the first, over the prompts that both were asked for. "
        "Each is a run's name, or the folder of its report, with :ADAPTER after it where it holds several; it is taken at its "
        "recommended scale, or its strongest where none is.",
    )
    parser.add_argument("first", metavar="A", help="what is compared with")
    parser.add_argument("second", metavar="B", help="what is compared")
    parser.add_argument("--scale-a", type=float, help="the first at this scale")
    parser.add_argument("--scale-b", type=float, help="the second at this scale")
    parser.add_argument("--fail-if-worse", action="store_true", help="exit with code 1 when the second surely is worse")
    return parser


def side(named: str, scale: float | None) -> Side:
    """What ``RUN[:ADAPTER]`` means; ``BadInput`` says what there is instead."""
    folder, adapter = _folder(named)
    results = read_results(folder)
    names = [each.name for each in results.adapters]
    if adapter is None and len(names) > 1 and results.verdict.outcome != "recommended":
        raise BadInput(f"{named}: holds several adapters; name one of {', '.join(names)}, as in {named}:{names[0]}.")
    chosen = adapter or results.verdict.adapter or names[0]
    if scale is None and results.verdict.adapter == chosen:
        scale = results.verdict.lora_scale
    own = [each for each in results.candidates if each.adapter == chosen]
    if not own:
        raise BadInput(f"{named}: holds no adapter called {chosen!r}, but {', '.join(names)}.")
    found = own[-1] if scale is None else next((each for each in own if each.lora_scale == scale), None)
    if found is None:
        raise BadInput(f"{named}: was not asked at scale {scale:g}, but {_scales(own)}.")
    return Side(results, found)


def _scales(found: Sequence[Candidate]) -> str:
    return ", ".join(f"{each.lora_scale:g}" for each in found)


def _folder(named: str) -> tuple[Path, str | None]:
    for path in (Path(named), OUT / named):
        if path.is_dir():
            return path, None
    run, colon, adapter = named.rpartition(":")
    if colon:
        return _folder(run)[0], adapter
    raise BadInput(f"{named}: neither a folder nor a run below {OUT}.")


def check(first: Side, second: Side) -> None:
    """Refuse two whose figures do not mean the same."""
    for each in (first, second):
        if each.results.is_void:
            raise BadInput(f"{each.results.run}: a gate failed there, so that its figures mean nothing.")
    one, other = _common(first.results), _common(second.results)
    for what in {**one, **other}:
        if one.get(what) != other.get(what):
            raise BadInput(f"{first.results.run} and {second.results.run} do not have the same {what}: nothing can be compared.")


def _common(results: Results) -> dict[str, object]:
    """What two results must have in common."""
    return {
        "base": results.base["sha256"],
        "extractors": results.extractors,
        "held-out images": results.dataset["held_out_sha256"],
        "protocol": results.protocol_version,
        **{name: value for name, value in results.settings.items() if name not in ("scales", "trigger")},
    }


def differences(first: Side, second: Side) -> list[Difference]:
    """Every metric that both have, over the prompts that both were asked for; ``BadInput`` when they share fewer than two."""
    found = []
    for metric in metrics.all_metrics():
        one, other = (each.candidate.by_prompt.get(metric.name, {}) for each in (first, second))
        shared = [prompt for prompt in one if prompt in other]
        if len(shared) > 1:
            pairs = [(one[prompt], other[prompt]) for prompt in shared]
            change = [high - low for low, high in pairs]
            p = min(1.0, 2 * min(sign_flip(change), sign_flip([-each for each in change])))
            values = (cluster_t([low for low, _ in pairs]), cluster_t([high for _, high in pairs]))
            found.append(Difference(metric.name, *values, cluster_t(change), p))
    if not any(each.metric == metrics.PRIMARY for each in found):
        raise BadInput(
            f"{first.results.run} and {second.results.run} share fewer than two prompts in which likeness to held-out images "
            "was measured: nothing can be compared."
        )
    return found


def worse(first: Side, second: Side, found: Sequence[Difference]) -> list[str]:
    """In what the second surely is worse: its primary metric is lower, or it fails a guard that the first passes."""
    faults = []
    for each in found:
        if each.metric == metrics.PRIMARY and each.change.high is not None and each.change.high < 0:
            faults.append(f"{each.metric} by {each.change.mean:+.3f} [{each.change.low:+.3f}, {each.change.high:+.3f}]")
    states = {guard.metric: guard.passed for guard in second.candidate.guards}
    for guard in first.candidate.guards:
        if guard.passed and not states.get(guard.metric):
            faults.append(f"guard {guard.metric} {'fails' if states.get(guard.metric) is False else 'was not measured'}")
    return faults


def table(first: Side, second: Side, found: Sequence[Difference]) -> str:
    """The comparison as lines for a terminal."""
    lines = [f"A  {first.name}", f"B  {second.name}", "", f"{'metric':18}{'A':>9}{'B':>9}{'B − A':>9}  95 % interval       p"]
    for each in found:
        bounds = f"[{each.change.low:+.3f}, {each.change.high:+.3f}]"
        row = f"{each.metric:18}{each.first.mean:9.3f}{each.second.mean:9.3f}{each.change.mean:+9.3f}  {bounds:18}"
        lines.append(f"{row}{each.p:7.3f}   {each.change.prompts} prompts")
    return "\n".join(lines)
