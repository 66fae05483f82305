"""The rule that recommends a scale, fixed in advance: figures of every candidate in, a choice out.

Prompts with the trigger are split into two halves. The selection half chooses: of the candidates that pass every guard, those
whose gain is significant after Holm's adjustment, and of these the smallest scale that keeps nearly all of the best one's gain,
compared prompt by prompt and with a margin of one standard error. The confirmation half had no part in the choice and measures
the gain. Guards use all prompts: they only ever exclude, and need all the evidence there is.
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from evaluation import metrics
from evaluation.features.sweep import AdapterScale
from evaluation.metrics.base import Metric
from evaluation.protocol.plan import WITH_TRIGGER, Protocol
from evaluation.results import Candidate, Figure, GuardFinding
from evaluation.statistics.intervals import CONFIDENCE, Interval, cluster_t, holm, sign_flip
from evaluation.statistics.measure import Measurements

SIGNIFICANCE_LEVEL = 1 - CONFIDENCE
MIN_GAIN = 0.05
"""A gain that is certainly below this share of the gap to the held-out images counts as none."""

MIN_KEPT_GAIN = 0.9
"""Share of the best gain that a smaller scale has to keep. Merely not to differ from the best is easy with few prompts."""

REQUIRED_GUARDS = ("drift",)
"""Guards that must be measured before anything is recommended."""
MIN_GAP = 0.02
"""A gap below this is too small to express a gain as a share of it."""

Halves = Mapping[str, tuple[str, ...]]
BASE: AdapterScale = (None, 0.0)


@dataclass(frozen=True)
class Choice:
    """The candidate that the rule chose, if any, and why; ``outcome`` as in a verdict."""

    outcome: str
    reason: str
    candidate: Candidate | None = None


def split_prompts(protocol: Protocol, trigger: str) -> dict[str, tuple[str, ...]]:
    """Return the prompts with the trigger in two halves, ``select`` and ``confirm``, with each stratum split evenly.

    They are assigned by a hash of their text, so that the order of the prompts changes nothing.
    """
    select, confirm = list[str](), list[str]()
    for stratum in WITH_TRIGGER:
        prompts = sorted(protocol.prompts(stratum, trigger), key=lambda prompt: hashlib.sha256(prompt.encode()).digest())
        # The odd prompt of a stratum goes to the half that has fewer.
        first, second = (select, confirm) if len(select) <= len(confirm) else (confirm, select)
        first += prompts[::2]
        second += prompts[1::2]
    return {"select": tuple(sorted(select)), "confirm": tuple(sorted(confirm))}


def build_candidates(
    measurements: Measurements, counts: Mapping[AdapterScale, tuple[int, int]], halves: Halves
) -> tuple[Candidate, ...]:
    """Return the figures of the base and of every adapter at every scale; ``counts``: images requested and generated."""
    candidates = [
        _build_candidate(measurements, adapter_scale, requested, generated, halves)
        for adapter_scale, (requested, generated) in counts.items()
    ]
    tested = [index for index, candidate in enumerate(candidates) if candidate.p is not None]
    adjusted = holm([float(candidates[index].p or 0) for index in tested])
    for index, p_holm in zip(tested, adjusted, strict=True):
        candidates[index] = candidates[index].model_copy(update={"p_holm": p_holm})
    return tuple(candidates)


def choose(candidates: Sequence[Candidate], ceiling: float | None, select: Collection[str]) -> Choice:
    """Apply the rule to candidates whose gates were passed; ``select`` are the selection prompts.

    The reason names the guards that failed, whatever the outcome.
    """
    measured = [candidate for candidate in candidates if candidate.adapter is not None and candidate.selected is not None]
    if not measured:
        return Choice("inconclusive", "there are no held-out images to measure a gain against")
    choice = _choose(measured, candidates, ceiling, select)
    failures = "; ".join(_failed_guards(candidate) for candidate in measured if _has_failed_guard(candidate))
    if failures and failures not in choice.reason:
        choice = replace(choice, reason=f"{choice.reason}; failed guards: {failures}")
    unmeasured = list(
        dict.fromkeys(
            metrics.get_metric(guard.metric).title for candidate in measured for guard in candidate.guards if guard.passed is None
        )
    )
    return replace(choice, reason=f"{choice.reason}; guards not measured: {', '.join(unmeasured)}") if unmeasured else choice


def _choose(
    measured: Sequence[Candidate], candidates: Sequence[Candidate], ceiling: float | None, select: Collection[str]
) -> Choice:
    significant = [candidate for candidate in measured if candidate.p_holm is not None and candidate.p_holm < SIGNIFICANCE_LEVEL]
    if not significant:
        return _no_significant_gain(measured, candidates, ceiling)
    eligible = [candidate for candidate in significant if not _has_failed_guard(candidate)]
    if not eligible:
        return Choice("none", f"every scale with a significant gain fails a guard: {'; '.join(map(_failed_guards, significant))}")
    if any(guard.metric in REQUIRED_GUARDS and guard.passed is None for candidate in eligible for guard in candidate.guards):
        return Choice("inconclusive", "without control prompts the effect on images without the trigger is unknown")
    best = max(eligible, key=lambda candidate: _gain(candidate).mean)
    near_best = [candidate for candidate in eligible if candidate is best or _keeps_gain(candidate, best, select)]
    chosen = min(near_best, key=lambda candidate: (candidate.lora_scale, -_gain(candidate).mean))
    confirmed = chosen.confirmed
    if confirmed is None or confirmed.low is None or confirmed.low <= 0:
        return Choice(
            "inconclusive",
            f"the gain at scale {chosen.lora_scale:g} is not confirmed by the prompts that had no part in choosing it",
        )
    reason = f"the smallest scale that keeps {MIN_KEPT_GAIN:.0%} of the best gain and passes every guard"
    return Choice("recommended", reason, chosen)


def _keeps_gain(candidate: Candidate, best: Candidate, select: Collection[str]) -> bool:
    """Return whether the loss against ``best``, plus one standard error, is small enough."""
    values = candidate.by_prompt.get(metrics.PRIMARY, {})
    best_values = best.by_prompt.get(metrics.PRIMARY, {})
    losses = [best_values[prompt] - values[prompt] for prompt in select if prompt in values and prompt in best_values]
    if len(losses) < 2:
        return False
    loss = cluster_t(losses)
    return loss.mean + loss.standard_error <= (1 - MIN_KEPT_GAIN) * _gain(best).mean


def _has_failed_guard(candidate: Candidate) -> bool:
    return any(guard.passed is False for guard in candidate.guards)


def _build_candidate(
    measurements: Measurements, adapter_scale: AdapterScale, requested: int, generated: int, halves: Halves
) -> Candidate:
    adapter, scale = adapter_scale
    all_figures = {metric.name: _figure(measurements, metric, adapter_scale) for metric in metrics.all_metrics()}
    figures = {name: figure for name, figure in all_figures.items() if figure.value is not None}
    distances = list(measurements.distances.get(adapter_scale, {}).values())
    candidate = Candidate(
        adapter=adapter,
        lora_scale=scale,
        requested=requested,
        generated=generated,
        distance=cluster_t(distances) if distances else None,
        set_metrics=measurements.set_metrics.get(adapter_scale, {}),
        figures=figures,
        by_prompt={name: values_by_prompt(measurements, name, adapter_scale) for name in figures},
    )
    if adapter is None:
        return candidate
    gains = changes_by_prompt(measurements, metrics.PRIMARY, adapter_scale)
    select, confirm = ([gains[prompt] for prompt in halves[half] if prompt in gains] for half in ("select", "confirm"))
    return candidate.model_copy(
        update={
            "guards": tuple(_judge_guards(measurements, adapter_scale)),
            "selected": cluster_t(select) if select else None,
            "confirmed": cluster_t(confirm) if confirm else None,
            "p": sign_flip(select) if len(select) > 1 else None,
        }
    )


def values_by_prompt(measurements: Measurements, metric: str, adapter_scale: AdapterScale) -> dict[str, float]:
    """Return prompt → value of a metric."""
    return measurements.by_prompt.get(adapter_scale, {}).get(metric, {})


def changes_by_prompt(measurements: Measurements, metric: str, adapter_scale: AdapterScale) -> dict[str, float]:
    """Return prompt → change of a metric from the base's images of the same seeds."""
    base = measurements.base_by_prompt.get(adapter_scale, {}).get(metric, {})
    values = values_by_prompt(measurements, metric, adapter_scale)
    return {prompt: value - base[prompt] for prompt, value in values.items() if prompt in base}


def _figure(measurements: Measurements, metric: Metric, adapter_scale: AdapterScale) -> Figure:
    values = values_by_prompt(measurements, metric.name, adapter_scale)
    changes = changes_by_prompt(measurements, metric.name, adapter_scale)
    return Figure(
        value=cluster_t(list(values.values())) if values else None,
        change=cluster_t(list(changes.values())) if changes else None,
    )


def _judge_guards(measurements: Measurements, adapter_scale: AdapterScale) -> Iterator[GuardFinding]:
    """Yield the finding of every guard; a guard that could not be measured has neither passed nor failed."""
    for metric in metrics.all_metrics():
        if (guard := metric.guard(measurements.reference_stats)) is None:
            continue
        by_prompt = values_by_prompt if guard.of == "value" else changes_by_prompt
        guarded = list(by_prompt(measurements, metric.name, adapter_scale).values())
        interval = cluster_t(guarded) if guarded else None
        passed = guard.passes(interval.low, interval.high) if interval else None
        yield GuardFinding(metric=metric.name, guard=guard, interval=interval, passed=passed)


def _no_significant_gain(measured: Sequence[Candidate], candidates: Sequence[Candidate], ceiling: float | None) -> Choice:
    prompts = max(_gain(candidate).prompts for candidate in measured)
    smallest_p = len(measured) / 2**prompts
    if smallest_p >= SIGNIFICANCE_LEVEL:
        return Choice(
            "inconclusive",
            f"{prompts} selection prompts are too few for a significant gain among {len(measured)} candidates; use more prompts",
        )
    gap = similarity_gap(candidates, ceiling)
    highest = max(high for candidate in measured if (high := _gain(candidate).high) is not None)
    if gap is not None and gap > 0 and highest < MIN_GAIN * gap:
        return Choice(
            "none",
            f"no scale gains anything: every 95 % interval is below {MIN_GAIN:.0%} of the gap between base and held-out images",
        )
    best = max(measured, key=lambda candidate: _gain(candidate).mean)
    p_value = "" if best.p_holm is None else f", p = {best.p_holm:.2g}"
    return Choice(
        "inconclusive", f"no gain is significant; the largest is {_gain(best).mean:+.3f} at scale {best.lora_scale:g}{p_value}"
    )


def similarity_gap(candidates: Sequence[Candidate], ceiling: float | None) -> float | None:
    """Return the held-out images' similarity to one another minus the base's similarity to them."""
    base = next((candidate for candidate in candidates if candidate.adapter is None), None)
    figure = base.figures.get(metrics.PRIMARY) if base else None
    return None if ceiling is None or figure is None or figure.value is None else ceiling - figure.value.mean


def _failed_guards(candidate: Candidate) -> str:
    failed = [_guard_failure(guard) for guard in candidate.guards if guard.passed is False]
    return f"at scale {candidate.lora_scale:g} {' and '.join(failed)}"


def _guard_failure(finding: GuardFinding) -> str:
    metric, guard, interval = metrics.get_metric(finding.metric), finding.guard, finding.interval
    bound = None if interval is None else interval.low if guard.at_least is not None else interval.high
    if bound is None:
        return f"{metric.title} cannot be judged from one prompt"
    allowed = f"at least {guard.at_least:.3g}" if guard.at_least is not None else f"at most {guard.at_most:.3g}"
    return f"{metric.failure} ({metric.title} {bound:.3g}, allowed {allowed})"


def _gain(candidate: Candidate) -> Interval:
    assert candidate.selected is not None
    return candidate.selected
