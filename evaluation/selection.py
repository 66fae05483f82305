"""The rule that recommends a scale, fixed in advance: figures of every candidate in, a verdict out.

Prompts with the trigger are split in two halves. One chooses: of the candidates that pass every guard, those with a gain that
Holm's adjustment leaves significant, of these the smallest scale that keeps nearly all of the best one's gain, prompt by prompt
and to one standard error. The other half, which had no say, tells how large the gain is. Guards are held by all prompts: they
only ever exclude, and need all the evidence there is.
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from evaluation import metrics
from evaluation.measure import Measured
from evaluation.metrics.base import Metric
from evaluation.protocol import WITH_TRIGGER, Protocol
from evaluation.results import Candidate, Figure, GuardFinding
from evaluation.statistics import CONFIDENCE, Interval, cluster_t, holm, sign_flip
from evaluation.sweep import AdapterScale

SIGNIFICANT = 1 - CONFIDENCE
WORTHLESS = 0.05
"""A gain that surely is below this share of the gap to the held-out images is none."""

KEPT = 0.9
"""Share of the best gain that a smaller scale has to keep. Merely not to differ from the best is easy with few prompts."""

REQUIRED = ("drift",)
"""Guards without which nothing is recommended."""
CLEAR = 0.02
"""A gap below this is none that a gain could be a share of."""

Halves = Mapping[str, tuple[str, ...]]
BASE: AdapterScale = (None, 0.0)


@dataclass(frozen=True)
class Choice:
    """What the rule chose, if anything, and why; ``outcome`` as in a verdict."""

    outcome: str
    reason: str
    candidate: Candidate | None = None


def split_prompts(protocol: Protocol, trigger: str) -> dict[str, tuple[str, ...]]:
    """The prompts with the trigger in two halves, ``select`` and ``confirm``, each stratum shared evenly.

    They are drawn by what they say, so that another order of the same prompts changes nothing.
    """
    select, confirm = list[str](), list[str]()
    for stratum in WITH_TRIGGER:
        drawn = sorted(protocol.of(stratum, trigger), key=lambda prompt: hashlib.sha256(prompt.encode()).digest())
        # The odd one of a stratum goes to the half that has fewer.
        first, second = (select, confirm) if len(select) <= len(confirm) else (confirm, select)
        first += drawn[::2]
        second += drawn[1::2]
    return {"select": tuple(sorted(select)), "confirm": tuple(sorted(confirm))}


def candidates(measured: Measured, counts: Mapping[AdapterScale, tuple[int, int]], halves: Halves) -> tuple[Candidate, ...]:
    """The figures of the base and of every adapter at every scale; ``counts``: how many images were asked for and answered."""
    found = [_candidate(measured, under, asked, answered, halves) for under, (asked, answered) in counts.items()]
    rivals = [place for place, each in enumerate(found) if each.p is not None]
    adjusted = holm([float(found[place].p or 0) for place in rivals])
    for place, p_holm in zip(rivals, adjusted, strict=True):
        found[place] = found[place].model_copy(update={"p_holm": p_holm})
    return tuple(found)


def choose(found: Sequence[Candidate], ceiling: float | None, select: Collection[str]) -> Choice:
    """Apply the rule to candidates whose gates were passed; ``select`` are the prompts that choose.

    Its reason tells of guards that failed, whatever the outcome.
    """
    rivals = [each for each in found if each.adapter is not None and each.selected is not None]
    if not rivals:
        return Choice("inconclusive", "there are no held-out images that a gain could be measured against")
    choice = _choice(rivals, found, ceiling, select)
    barred = "; ".join(_failures(each) for each in rivals if _has_failed(each))
    if barred and barred not in choice.reason:
        choice = replace(choice, reason=f"{choice.reason}; elsewhere a guard fails: {barred}")
    unmeasured = list(
        dict.fromkeys(metrics.named(guard.metric).title for each in rivals for guard in each.guards if guard.passed is None)
    )
    return replace(choice, reason=f"{choice.reason}; not measured: {', '.join(unmeasured)}") if unmeasured else choice


def _choice(rivals: Sequence[Candidate], found: Sequence[Candidate], ceiling: float | None, select: Collection[str]) -> Choice:
    significant = [each for each in rivals if each.p_holm is not None and each.p_holm < SIGNIFICANT]
    if not significant:
        return _no_gain(rivals, found, ceiling)
    eligible = [each for each in significant if not _has_failed(each)]
    if not eligible:
        return Choice("none", f"wherever there is a gain, a guard fails: {'; '.join(map(_failures, significant))}")
    if any(guard.metric in REQUIRED and guard.passed is None for each in eligible for guard in each.guards):
        return Choice("inconclusive", "without control prompts nothing tells what becomes of images without the trigger")
    best = max(eligible, key=lambda each: _gain(each).mean)
    near = [each for each in eligible if each is best or _keeps_its_gain(each, best, select)]
    chosen = min(near, key=lambda each: (each.lora_scale, -_gain(each).mean))
    confirmed = chosen.confirmed
    if confirmed is None or confirmed.low is None or confirmed.low <= 0:
        told = f"the gain at scale {chosen.lora_scale:g} does not show in the prompts that had no part in choosing it"
        return Choice("inconclusive", told)
    return Choice("recommended", f"the smallest scale that keeps {KEPT:.0%} of the best gain and passes every guard", chosen)


def _keeps_its_gain(candidate: Candidate, best: Candidate, select: Collection[str]) -> bool:
    ours, theirs = (each.by_prompt.get(metrics.PRIMARY, {}) for each in (candidate, best))
    apart = [theirs[prompt] - ours[prompt] for prompt in select if prompt in ours and prompt in theirs]
    if len(apart) < 2:
        return False
    lost = cluster_t(apart)
    return lost.mean + lost.standard_error <= (1 - KEPT) * _gain(best).mean


def _has_failed(candidate: Candidate) -> bool:
    return any(guard.passed is False for guard in candidate.guards)


def _candidate(measured: Measured, under: AdapterScale, asked: int, answered: int, halves: Halves) -> Candidate:
    adapter, scale = under
    figures = {metric.name: _figure(measured, metric, under) for metric in metrics.all_metrics()}
    moved = list(measured.distances.get(under, {}).values())
    told = Candidate(
        adapter=adapter,
        lora_scale=scale,
        asked=asked,
        answered=answered,
        distance=cluster_t(moved) if moved else None,
        sets=measured.sets.get(under, {}),
        figures={name: figure for name, figure in figures.items() if figure.value is not None},
        by_prompt={name: values(measured, name, under) for name, figure in figures.items() if figure.value is not None},
    )
    if adapter is None:
        return told
    gains = changes(measured, metrics.PRIMARY, under)
    select, confirm = ([gains[prompt] for prompt in halves[half] if prompt in gains] for half in ("select", "confirm"))
    return told.model_copy(
        update={
            "guards": tuple(_guards(measured, under)),
            "selected": cluster_t(select) if select else None,
            "confirmed": cluster_t(confirm) if confirm else None,
            "p": sign_flip(select) if len(select) > 1 else None,
        }
    )


def values(measured: Measured, metric: str, under: AdapterScale) -> dict[str, float]:
    """Prompt → value of a metric."""
    return measured.by_prompt.get(under, {}).get(metric, {})


def changes(measured: Measured, metric: str, under: AdapterScale) -> dict[str, float]:
    """Prompt → change of a metric from the base's images of the same seeds."""
    base = measured.at_base.get(under, {}).get(metric, {})
    return {prompt: value - base[prompt] for prompt, value in values(measured, metric, under).items() if prompt in base}


def _figure(measured: Measured, metric: Metric, under: AdapterScale) -> Figure:
    found, moved = values(measured, metric.name, under), changes(measured, metric.name, under)
    return Figure(
        value=cluster_t(list(found.values())) if found else None, change=cluster_t(list(moved.values())) if moved else None
    )


def _guards(measured: Measured, under: AdapterScale) -> Iterator[GuardFinding]:
    """What every guard found; one that could not be measured has neither passed nor failed."""
    for metric in metrics.all_metrics():
        if (guard := metric.guard(measured.known)) is None:
            continue
        found = values(measured, metric.name, under) if guard.of == "value" else changes(measured, metric.name, under)
        interval = cluster_t(list(found.values())) if found else None
        passed = guard.passes(interval.low, interval.high) if interval else None
        yield GuardFinding(metric=metric.name, guard=guard, interval=interval, passed=passed)


def _no_gain(rivals: Sequence[Candidate], found: Sequence[Candidate], ceiling: float | None) -> Choice:
    prompts = max(_gain(each).prompts for each in rivals)
    least = len(rivals) / 2**prompts
    if least >= SIGNIFICANT:
        return Choice(
            "inconclusive", f"{prompts} prompts that choose among {len(rivals)} candidates can show nothing; ask with more"
        )
    gap = gap_of(found, ceiling)
    highest = max(each for rival in rivals if (each := _gain(rival).high) is not None)
    if gap is not None and gap > 0 and highest < WORTHLESS * gap:
        return Choice(
            "none", f"no scale gains anything: surely less than {WORTHLESS:.0%} of the gap between base and held-out images"
        )
    best = max(rivals, key=lambda each: _gain(each).mean)
    told = "" if best.p_holm is None else f", p = {best.p_holm:.2g}"
    return Choice(
        "inconclusive", f"no gain is significant; the largest is {_gain(best).mean:+.3f} at scale {best.lora_scale:g}{told}"
    )


def gap_of(found: Sequence[Candidate], ceiling: float | None) -> float | None:
    """What lies between the base's likeness to the held-out images and theirs among themselves."""
    base = next((each for each in found if each.adapter is None), None)
    figure = base.figures.get(metrics.PRIMARY) if base else None
    return None if ceiling is None or figure is None or figure.value is None else ceiling - figure.value.mean


def _failures(candidate: Candidate) -> str:
    failed = [_failure(guard) for guard in candidate.guards if guard.passed is False]
    return f"at scale {candidate.lora_scale:g} {' and '.join(failed)}"


def _failure(found: GuardFinding) -> str:
    metric = metrics.named(found.metric)
    interval = found.interval
    reached = None if interval is None else interval.low if found.guard.at_least is not None else interval.high
    if reached is None:
        return f"{metric.title} cannot be told from one prompt"
    bound = f"at least {found.guard.at_least:.3g}" if found.guard.at_least is not None else f"at most {found.guard.at_most:.3g}"
    return f"{metric.failure} ({metric.title} {reached:.3g}, allowed {bound})"


def _gain(candidate: Candidate) -> Interval:
    assert candidate.selected is not None
    return candidate.selected
