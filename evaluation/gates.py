"""Gates before statistics: is the server's answer to a scale what a scale means at all? A failed gate voids every figure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from evaluation.results import GateFinding
from evaluation.statistics import Interval, cluster_t

_LOUDEST = 2 / 255
"""Mean absolute difference of two answers to one request, beyond which a server that is not exact is not reproducible."""
_ROOM = 2.0
"""What is held to the noise floor may be so many times as far apart."""


@dataclass(frozen=True)
class Pair:
    """Two images of one prompt and seed that a gate compares: how far apart they are, 0 … 1, mean absolute over pixels."""

    prompt: str
    distance: float
    is_identical: bool


@dataclass(frozen=True)
class Evidence:
    """What the gates judge: pairs of images, None where one of the two failed.

    ``strongest``: for each adapter its images at the strongest scale with the base's; ``growth``: for each its distances to the
    base at each scale above 0, averaged by prompt.
    """

    zero_at_start: Sequence[Pair | None]
    zero_at_end: Sequence[Pair | None]
    strongest: Mapping[str, Sequence[Pair | None]]
    repeated: Sequence[Pair | None]
    growth: Mapping[str, Mapping[float, Mapping[str, float]]]
    is_exact: bool


def judge(evidence: Evidence) -> tuple[GateFinding, ...]:
    """Every gate, in the protocol's order; those of an adapter for each adapter."""
    floor = max((pair.distance for pair in _there(evidence.repeated)), default=0.0)
    found = [
        _same("zero is the base", "Scale 0 is the base without any adapter", evidence.zero_at_start, floor),
        _same("nothing sticks", "Scale 0 in the end is scale 0 at the start", evidence.zero_at_end, floor),
    ]
    several = len(evidence.strongest) > 1
    for adapter, pairs in evidence.strongest.items():
        counts = _counts(pairs, floor)
        grows = _grows(evidence.growth.get(adapter, {}), evidence.is_exact) if counts.state == "passed" else _not_judged(_IDLE)
        for gate in (counts, grows):
            title = f"{adapter}: {gate.title[:1].lower()}{gate.title[1:]}" if several else gate.title
            found.append(gate.model_copy(update={"adapter": adapter, "title": title}))
    return (*found, _repeats(evidence.repeated, floor, evidence.is_exact))


def _same(name: str, title: str, pairs: Sequence[Pair | None], floor: float) -> GateFinding:
    if missing := _missing(name, title, pairs):
        return missing
    there = _there(pairs)
    apart = [pair for pair in there if not pair.is_identical]
    if not apart:
        return GateFinding(
            name=name, title=title, state="passed", told=f"{len(there)} of {len(there)} images are the same to the last bit."
        )
    worst = max(apart, key=lambda pair: pair.distance)
    within = worst.distance <= _ROOM * floor
    told = f"{len(apart)} of {len(there)} images differ, by {worst.distance:.2%} at the most ({worst.prompt!r}); "
    told += f"two answers to one request differ by {floor:.2%}."
    return GateFinding(name=name, title=title, state="passed" if within else "failed", told=told)


def _counts(pairs: Sequence[Pair | None], floor: float) -> GateFinding:
    name, title = "the adapter counts", "The strongest scale is not scale 0"
    there = _there(pairs)
    if not there:
        return GateFinding(name=name, title=title, state="failed", told="None of its images was answered.")
    changed = [pair for pair in there if not pair.is_identical and pair.distance > _ROOM * floor]
    told = f"{len(changed)} of {len(there)} images are changed, on average by {np.mean([pair.distance for pair in there]):.2%}."
    return GateFinding(name=name, title=title, state="passed" if changed else "failed", told=told)


_GROWS = ("the scale counts", "The distance to the base grows with the scale")
_IDLE = "the adapter changes nothing that could grow"


def _grows(by_scale: Mapping[float, Mapping[str, float]], is_exact: bool) -> GateFinding:
    name, title = _GROWS
    scales = [scale for scale in sorted(by_scale) if by_scale[scale]]
    if len(scales) < 2:
        return _not_judged("there are not two scales above 0")
    means = [float(np.mean(list(by_scale[scale].values()))) for scale in scales]
    course = ", ".join(f"{mean:.2%} at {scale:g}" for scale, mean in zip(scales, means, strict=True))
    whole = _step(by_scale[scales[0]], by_scale[scales[-1]])
    # Where the same request is the same image any difference is the scale's; elsewhere it must be surely more than noise.
    grows = whole is not None and (whole.mean > 0 if is_exact else whole.low is not None and whole.low > 0)
    steps = [_step(by_scale[low], by_scale[high]) for low, high in pairwise(scales)]
    falls = any(step is not None and step.high is not None and step.high < 0 for step in steps)
    return GateFinding(name=name, title=title, state="passed" if grows and not falls else "failed", told=f"{course}.")


def _step(low: Mapping[str, float], high: Mapping[str, float]) -> Interval | None:
    """By how much the distance grows from one scale to another, over the prompts that both have."""
    steps = [high[prompt] - low[prompt] for prompt in low if prompt in high]
    return cluster_t(steps) if steps else None


def _not_judged(why: str) -> GateFinding:
    return GateFinding(name=_GROWS[0], title=_GROWS[1], state="not judged", told=f"Not judged: {why}.")


def _repeats(pairs: Sequence[Pair | None], floor: float, is_exact: bool) -> GateFinding:
    name, title = "it repeats", "The same request is the same image"
    if missing := _missing(name, title, pairs):
        return missing
    count = len(pairs)
    if all(pair.is_identical for pair in _there(pairs)):
        return GateFinding(
            name=name, title=title, state="passed", told=f"{count} of {count} images are the same to the last bit."
        )
    told = f"Two answers to one request differ by up to {floor:.2%}: the noise floor. "
    told += "On a CPU in fp32 there must be none." if is_exact else f"Up to {_LOUDEST:.2%} is taken for rounding on this device."
    return GateFinding(name=name, title=title, state="failed" if is_exact or floor > _LOUDEST else "passed", told=told)


def _missing(name: str, title: str, pairs: Sequence[Pair | None]) -> GateFinding | None:
    """A gate that not every image is there for has not been passed."""
    if pairs and all(pair is not None for pair in pairs):
        return None
    told = f"{sum(pair is None for pair in pairs)} of {len(pairs)} images could not be compared, for a request failed."
    return GateFinding(name=name, title=title, state="failed", told=told)


def _there(pairs: Iterable[Pair | None]) -> list[Pair]:
    return [pair for pair in pairs if pair is not None]
