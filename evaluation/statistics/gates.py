"""Gates before any statistic: does the server apply a LoRA scale as it should at all? A failed gate voids every figure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from evaluation.results import GateFinding
from evaluation.statistics.intervals import Interval, cluster_t

_MAX_NOISE = 2 / 255
"""Mean absolute difference of two responses to the same request beyond which a server that is not exact is not reproducible."""
_NOISE_FACTOR = 2.0
"""Distances up to this multiple of the noise floor count as noise."""


@dataclass(frozen=True)
class Pair:
    """Two images of one prompt and seed that a gate compares; ``distance`` is the mean absolute pixel difference, 0 … 1."""

    prompt: str
    distance: float
    is_identical: bool


@dataclass(frozen=True)
class Evidence:
    """What the gates judge: pairs of images, None where one of the two failed.

    ``strongest``: for each adapter its images at the strongest scale with the base's; ``growth``: for each adapter its distances
    to the base at each scale above 0, averaged by prompt.
    """

    zero_at_start: Sequence[Pair | None]
    zero_at_end: Sequence[Pair | None]
    strongest: Mapping[str, Sequence[Pair | None]]
    repeated: Sequence[Pair | None]
    growth: Mapping[str, Mapping[float, Mapping[str, float]]]
    is_exact: bool


def judge_gates(evidence: Evidence) -> tuple[GateFinding, ...]:
    """Return the finding of every gate, in the protocol's order; gates about an adapter once per adapter."""
    noise_floor = max((pair.distance for pair in _present(evidence.repeated)), default=0.0)
    findings = [
        _identity_gate("zero is the base", "Scale 0 equals the base without an adapter", evidence.zero_at_start, noise_floor),
        _identity_gate("nothing sticks", "Scale 0 at the end equals scale 0 at the start", evidence.zero_at_end, noise_floor),
    ]
    has_several = len(evidence.strongest) > 1
    for adapter, pairs in evidence.strongest.items():
        effect = _effect_gate(pairs, noise_floor)
        growth = evidence.growth.get(adapter, {})
        grows = _growth_gate(growth, evidence.is_exact) if effect.state == "passed" else _growth_not_judged(_NO_EFFECT)
        for finding in (effect, grows):
            title = f"{adapter}: {finding.title[:1].lower()}{finding.title[1:]}" if has_several else finding.title
            findings.append(finding.model_copy(update={"adapter": adapter, "title": title}))
    return (*findings, _repeatability_gate(evidence.repeated, noise_floor, evidence.is_exact))


def _identity_gate(name: str, title: str, pairs: Sequence[Pair | None], noise_floor: float) -> GateFinding:
    """Judge whether all pairs are identical, or as near as the noise floor allows."""
    if failure := _missing_images(name, title, pairs):
        return failure
    present = _present(pairs)
    different = [pair for pair in present if not pair.is_identical]
    if not different:
        message = f"{len(present)} of {len(present)} images are identical to the last bit."
        return GateFinding(name=name, title=title, state="passed", message=message)
    worst = max(different, key=lambda pair: pair.distance)
    is_noise = worst.distance <= _NOISE_FACTOR * noise_floor
    message = f"{len(different)} of {len(present)} images differ, by at most {worst.distance:.2%} ({worst.prompt!r}); "
    message += f"two responses to the same request differ by up to {noise_floor:.2%}."
    return GateFinding(name=name, title=title, state="passed" if is_noise else "failed", message=message)


def _effect_gate(pairs: Sequence[Pair | None], noise_floor: float) -> GateFinding:
    """Judge whether the adapter changes any image at its strongest scale."""
    name, title = "the adapter counts", "The strongest scale differs from scale 0"
    present = _present(pairs)
    if not present:
        return GateFinding(name=name, title=title, state="failed", message="None of its images was generated.")
    changed = [pair for pair in present if not pair.is_identical and pair.distance > _NOISE_FACTOR * noise_floor]
    mean = np.mean([pair.distance for pair in present])
    message = f"{len(changed)} of {len(present)} images differ from the base's; the mean difference of all is {mean:.2%}."
    return GateFinding(name=name, title=title, state="passed" if changed else "failed", message=message)


_GROWTH_NAME, _GROWTH_TITLE = "the scale counts", "The distance to the base grows with the scale"
_NO_EFFECT = "the adapter changes no image, so no distance can grow"


def _growth_gate(by_scale: Mapping[float, Mapping[str, float]], is_exact: bool) -> GateFinding:
    """Judge whether distances to the base grow with the scale; ``by_scale``: scale → prompt → mean distance."""
    scales = [scale for scale in sorted(by_scale) if by_scale[scale]]
    if len(scales) < 2:
        return _growth_not_judged("there are fewer than two scales above 0 with images")
    means = [float(np.mean(list(by_scale[scale].values()))) for scale in scales]
    message = ", ".join(f"{mean:.2%} at {scale:g}" for scale, mean in zip(scales, means, strict=True))
    total = _growth_between(by_scale[scales[0]], by_scale[scales[-1]])
    # If identical requests give identical images, any difference is due to the scale; otherwise it must be significantly more
    # than noise.
    grows = total is not None and (total.mean > 0 if is_exact else total.low is not None and total.low > 0)
    steps = [_growth_between(by_scale[low], by_scale[high]) for low, high in pairwise(scales)]
    falls = any(step is not None and step.high is not None and step.high < 0 for step in steps)
    passed = grows and not falls
    return GateFinding(name=_GROWTH_NAME, title=_GROWTH_TITLE, state="passed" if passed else "failed", message=f"{message}.")


def _growth_between(low: Mapping[str, float], high: Mapping[str, float]) -> Interval | None:
    """Return by how much the distance grows from one scale to another, over the prompts that both have."""
    growth = [high[prompt] - low[prompt] for prompt in low if prompt in high]
    return cluster_t(growth) if growth else None


def _growth_not_judged(reason: str) -> GateFinding:
    return GateFinding(name=_GROWTH_NAME, title=_GROWTH_TITLE, state="not judged", message=f"Not judged: {reason}.")


def _repeatability_gate(pairs: Sequence[Pair | None], noise_floor: float, is_exact: bool) -> GateFinding:
    """Judge whether identical requests give identical images, or nearly so on a device that is not exact."""
    name, title = "it repeats", "The same request gives the same image"
    if failure := _missing_images(name, title, pairs):
        return failure
    count = len(pairs)
    if all(pair.is_identical for pair in _present(pairs)):
        message = f"{count} of {count} images are identical to the last bit."
        return GateFinding(name=name, title=title, state="passed", message=message)
    message = f"Two responses to the same request differ by up to {noise_floor:.2%}: the noise floor. "
    message += "On a CPU in fp32 it must be zero." if is_exact else f"Up to {_MAX_NOISE:.2%} counts as rounding on this device."
    has_failed = is_exact or noise_floor > _MAX_NOISE
    return GateFinding(name=name, title=title, state="failed" if has_failed else "passed", message=message)


def _missing_images(name: str, title: str, pairs: Sequence[Pair | None]) -> GateFinding | None:
    """Return a failed finding if not every image exists, for then the gate has not been passed."""
    if pairs and all(pair is not None for pair in pairs):
        return None
    message = f"{sum(pair is None for pair in pairs)} of {len(pairs)} images could not be compared because a request failed."
    return GateFinding(name=name, title=title, state="failed", message=message)


def _present(pairs: Iterable[Pair | None]) -> list[Pair]:
    return [pair for pair in pairs if pair is not None]
