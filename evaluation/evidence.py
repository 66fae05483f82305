"""The pairs of images that the gates judge, out of the samples of a plan."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from evaluation.features import distance
from evaluation.gates import Evidence, Pair
from evaluation.measure import Measured
from evaluation.protocol import Phase, Plan, Sample
from evaluation.results import SampleResult


def evidence(measured: Measured, plan: Plan, folder: Path, is_exact: bool) -> Evidence:
    """What there is to judge; ``is_exact``: the server promises the same bits for the same request."""
    results = {sample.sample: sample for sample in measured.samples}
    start = [sample for sample in plan.samples if sample.phase == "start"]
    end = [sample for sample in plan.samples if sample.phase == "end"]
    probed = {(sample.prompt, sample.seed) for sample in start}
    strongest = max(sample.lora_scale for sample in plan.samples)
    swept = [
        sample
        for sample in plan.samples
        if (sample.phase, sample.lora_scale) == ("sweep", strongest) and (sample.prompt, sample.seed) in probed
    ]

    def pairs(couples: Iterable[tuple[Sample, Sample]]) -> list[Pair | None]:
        return [_pair(results, one, other, folder) for one, other in couples]

    zeros = [sample for sample in end if sample.lora_scale == 0]
    return Evidence(
        zero_at_start=pairs((sample, _base(sample)) for sample in start),
        zero_at_end=pairs((sample, _at(sample, "start") if sample.adapter else _base(sample)) for sample in zeros),
        strongest={
            adapter: pairs((sample, _base(sample)) for sample in swept if sample.adapter == adapter)
            for adapter in dict.fromkeys(sample.adapter for sample in swept if sample.adapter)
        },
        repeated=pairs((sample, _at(sample, "sweep")) for sample in end if sample.lora_scale == strongest),
        growth=_growth(measured),
        is_exact=is_exact,
    )


def _growth(measured: Measured) -> dict[str, dict[float, dict[str, float]]]:
    growth: dict[str, dict[float, dict[str, float]]] = {}
    for (adapter, scale), by_prompt in measured.distances.items():
        if adapter is not None:
            growth.setdefault(adapter, {})[scale] = by_prompt
    return growth


def _pair(results: Mapping[Sample, SampleResult], one: Sample, other: Sample, folder: Path) -> Pair | None:
    """Both images compared; None where one of the two failed."""
    first, second = results[one], results[other]
    if first.image is None or second.image is None:
        return None
    apart = distance(folder / first.image, folder / second.image)
    return Pair(one.prompt, apart, first.pixels_sha256 == second.pixels_sha256)


def _base(sample: Sample) -> Sample:
    return Sample("sweep", sample.stratum, sample.prompt, sample.seed, None, 0.0)


def _at(sample: Sample, phase: Phase) -> Sample:
    return Sample(phase, sample.stratum, sample.prompt, sample.seed, sample.adapter, sample.lora_scale)
