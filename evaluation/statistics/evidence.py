"""Select the pairs of images that the gates judge from the samples of a plan."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from evaluation.features.extraction import pixel_distance
from evaluation.protocol.plan import Phase, Plan, Sample
from evaluation.results import SampleResult
from evaluation.statistics.gates import Evidence, Pair
from evaluation.statistics.measure import Measurements


def collect_evidence(measurements: Measurements, plan: Plan, folder: Path, is_exact: bool) -> Evidence:
    """Return what the gates judge; ``is_exact``: the server promises bit-identical images for identical requests."""
    results = {result.sample: result for result in measurements.samples}
    start = [sample for sample in plan.samples if sample.phase == "start"]
    end = [sample for sample in plan.samples if sample.phase == "end"]
    probes = {(sample.prompt, sample.seed) for sample in start}
    strongest_scale = max(sample.lora_scale for sample in plan.samples)
    strongest = [
        sample
        for sample in plan.samples
        if (sample.phase, sample.lora_scale) == ("sweep", strongest_scale) and (sample.prompt, sample.seed) in probes
    ]

    def compare(couples: Iterable[tuple[Sample, Sample]]) -> list[Pair | None]:
        return [_compare(results, first, second, folder) for first, second in couples]

    zeros = [sample for sample in end if sample.lora_scale == 0]
    return Evidence(
        zero_at_start=compare((sample, _base_sample(sample)) for sample in start),
        zero_at_end=compare((sample, _in_phase(sample, "start") if sample.adapter else _base_sample(sample)) for sample in zeros),
        strongest={
            adapter: compare((sample, _base_sample(sample)) for sample in strongest if sample.adapter == adapter)
            for adapter in dict.fromkeys(sample.adapter for sample in strongest if sample.adapter)
        },
        repeated=compare((sample, _in_phase(sample, "sweep")) for sample in end if sample.lora_scale == strongest_scale),
        growth=_growth(measurements),
        is_exact=is_exact,
    )


def _growth(measurements: Measurements) -> dict[str, dict[float, dict[str, float]]]:
    """Return adapter → scale → prompt → mean distance to the base."""
    growth: dict[str, dict[float, dict[str, float]]] = {}
    for (adapter, scale), by_prompt in measurements.distances.items():
        if adapter is not None:
            growth.setdefault(adapter, {})[scale] = by_prompt
    return growth


def _compare(results: Mapping[Sample, SampleResult], first: Sample, second: Sample, folder: Path) -> Pair | None:
    """Compare the images of two samples; None if one of them failed."""
    first_result, second_result = results[first], results[second]
    if first_result.image is None or second_result.image is None:
        return None
    distance = pixel_distance(folder / first_result.image, folder / second_result.image)
    return Pair(first.prompt, distance, first_result.pixels_sha256 == second_result.pixels_sha256)


def _base_sample(sample: Sample) -> Sample:
    """Return the base's sample of the same prompt and seed."""
    return Sample("sweep", sample.stratum, sample.prompt, sample.seed, None, 0.0)


def _in_phase(sample: Sample, phase: Phase) -> Sample:
    return Sample(phase, sample.stratum, sample.prompt, sample.seed, sample.adapter, sample.lora_scale)
