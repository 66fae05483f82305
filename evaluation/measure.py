"""Pictures → figures: what every metric finds at every scale, by prompt, and the pairs of pictures that the gates judge."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from evaluation import metrics
from evaluation.extractors.base import Extractor, Features
from evaluation.gates import Evidence, Pair, pair
from evaluation.looking import Eyes, distance
from evaluation.metrics.base import Cell, Known, Seen, Values
from evaluation.protocol import TRIGGER, WITH_TRIGGER, Phase, Plan, Protocol, Sample, Stratum
from evaluation.references import References
from evaluation.results import DIGITS, TRAINING, SampleResult
from evaluation.sets import set_figures

Under = tuple[str | None, float]
"""An adapter, or None for the base, and its scale."""


@dataclass
class Measured:
    """What was found.

    ``by_prompt``: adapter and scale → metric → stratum → prompt → value, averaged over seeds. ``distances``: adapter and scale →
    prompt → mean pixel distance to the base. ``sets``: adapter and scale → figures of all their pictures with the trigger.
    ``samples`` carry what has a value for each picture.
    """

    samples: list[SampleResult]
    known: Known
    ceiling: float | None
    by_prompt: dict[Under, dict[str, dict[Stratum, dict[str, float]]]] = field(default_factory=dict)
    distances: dict[Under, dict[str, float]] = field(default_factory=dict)
    sets: dict[Under, dict[str, float]] = field(default_factory=dict)


class Measurement:
    """Measures the answered samples in ``folder``."""

    def __init__(self, folder: Path, protocol: Protocol, trigger: str, eyes: Eyes, references: References) -> None:
        self._folder, self._protocol, self._trigger, self._eyes, self._references = folder, protocol, trigger, eyes, references

    def measure(self, samples: Sequence[SampleResult]) -> Measured:
        """Look at every answered picture of the sweep and at the concept's own, and apply every metric."""
        swept = [sample for sample in samples if sample.phase == "sweep" and sample.status == "ok"]
        if not any(sample.adapter is None for sample in swept):
            return Measured(list(samples), Known(None, None, {}, None, None), None)
        seen = self._eyes.look([self._folder / str(sample.image) for sample in swept])
        place = {sample.sample: number for number, sample in enumerate(swept)}
        base = {(sample.prompt, sample.seed): number for number, sample in enumerate(swept) if sample.adapter is None}
        known = self._known(seen, base)
        found = Measured(list(samples), known, _among_themselves(known.held_out))
        told: dict[Sample, dict[str, float]] = {}
        for under, stratum, prompt, cell, members in _cells(swept, seen, base):
            self._apply(found, under, stratum, prompt, cell, members, told)
        apart = {sample.sample: self._distance(sample, swept, base) for sample in swept}
        for under, of in _grouped(swept).items():
            found.distances[under] = _means((sample.prompt, apart[sample.sample]) for sample in of)
            if under[0] is not None:
                made = [place[each.sample] for each in of if each.stratum in WITH_TRIGGER]
                found.sets[under] = set_figures(seen.features[made], _features(known.held_out), _features(known.training))
        nearest = self._nearest(seen, known)
        found.samples = [_told(sample, place, told, apart, nearest) for sample in samples]
        return found

    def evidence(self, measured: Measured, plan: Plan, is_exact: bool) -> Evidence:
        """What the gates judge."""
        results = {sample.sample: sample for sample in measured.samples}
        strongest = self._protocol.scales[-1]
        start, end = _of(plan, "start"), _of(plan, "end")
        growth: dict[str, dict[float, dict[str, float]]] = {}
        for (adapter, scale), by_prompt in sorted(measured.distances.items(), key=lambda each: each[0][1]):
            if adapter is not None:
                growth.setdefault(adapter, {})[scale] = by_prompt
        probed = {(sample.prompt, sample.seed) for sample in start}
        return Evidence(
            zero_at_start=[self._pair(results, sample, _base(sample)) for sample in start],
            zero_at_end=[
                self._pair(results, sample, _base(sample) if sample.adapter is None else _moved(sample, "start"))
                for sample in end
                if sample.lora_scale == 0
            ],
            strongest=[
                self._pair(results, sample, _base(sample))
                for sample in plan.samples
                if (sample.phase, sample.lora_scale) == ("sweep", strongest) and (sample.prompt, sample.seed) in probed
            ],
            repeated=[self._pair(results, sample, _moved(sample, "sweep")) for sample in end if sample.lora_scale == strongest],
            growth=growth,
            is_exact=is_exact,
        )

    def _apply(
        self,
        found: Measured,
        under: Under,
        stratum: Stratum,
        prompt: str,
        cell: Cell,
        members: Sequence[SampleResult],
        told: dict[Sample, dict[str, float]],
    ) -> None:
        """Every metric of one cell, kept by prompt and, where it has a value for each, by picture."""
        for metric in metrics.all_metrics():
            values = metric.of(cell, found.known) if stratum in metric.strata else None
            if values is None:
                continue
            of_metric = found.by_prompt.setdefault(under, {}).setdefault(metric.name, {})
            of_metric.setdefault(stratum, {})[prompt] = float(values.mean())
            if len(values) == len(members) > 1:
                for sample, value in zip(members, values, strict=True):
                    told.setdefault(sample.sample, {})[metric.name] = round(float(value), DIGITS)

    def _known(self, seen: Seen, base: Mapping[tuple[str, int], int]) -> Known:
        held_out, training = (
            self._eyes.look(paths) if paths else None for paths in (self._references.held_out, self._references.training)
        )
        texts = self._texts(self._eyes.reader)
        controls = {prompt: [base[key] for key in base if key[0] == prompt] for prompt in self._prompts("control")}
        triggered = {prompt: [base[key] for key in base if key[0] == prompt] for prompt in self._prompts(*WITH_TRIGGER)}
        apart = _between([seen.features[places] for places in controls.values() if places])
        lead = None
        if seen.readable is not None:
            lead = _lead({prompt: seen.readable[places] for prompt, places in triggered.items() if places}, texts)
        return Known(held_out, training, texts, apart, lead, self._texts(self._eyes.critic))

    def _prompts(self, *strata: Stratum) -> list[str]:
        return [prompt for stratum in strata for prompt in self._protocol.of(stratum, self._trigger)]

    def _texts(self, reader: Extractor | None) -> dict[str, Values]:
        """Prompt with the trigger → what ``reader`` makes of its words without it."""
        if reader is None:
            return {}
        prompts = [prompt for stratum in WITH_TRIGGER for prompt in getattr(self._protocol, stratum)]
        stripped = [" ".join(prompt.replace(TRIGGER, " ").split()) for prompt in prompts]
        features = reader.texts(stripped)
        return {prompt.replace(TRIGGER, self._trigger): row for prompt, row in zip(prompts, features, strict=True)}

    def _distance(self, sample: SampleResult, swept: Sequence[SampleResult], base: Mapping[tuple[str, int], int]) -> float | None:
        if sample.adapter is None:
            return 0.0
        number = base.get((sample.prompt, sample.seed))
        return None if number is None else distance(self._folder / str(sample.image), self._folder / str(swept[number].image))

    def _nearest(self, seen: Seen, known: Known) -> list[tuple[str, float]] | None:
        """For each picture the training picture most like it, and their cosine."""
        if known.training is None:
            return None
        cosines = seen.features @ known.training.features.T
        names = [training_name(path) for path in self._references.training]
        return [(names[int(row.argmax())], round(float(row.max()), DIGITS)) for row in cosines]

    def _pair(self, results: Mapping[Sample, SampleResult], one: Sample, other: Sample) -> Pair | None:
        first, second = results[one], results[other]
        if first.image is None or second.image is None:
            return None
        return pair(first, second, distance(self._folder / first.image, self._folder / second.image))


def training_name(path: Path) -> str:
    """What a training picture is called in the results' folder."""
    return f"{TRAINING}/{path.name}"


def _cells(
    swept: Sequence[SampleResult], seen: Seen, base: Mapping[tuple[str, int], int]
) -> Iterable[tuple[Under, Stratum, str, Cell, list[SampleResult]]]:
    """The pictures of each prompt at each scale that the base's of the same seeds are there for."""
    groups: dict[tuple[Under, Stratum, str], list[int]] = {}
    for number, sample in enumerate(swept):
        if (sample.prompt, sample.seed) in base:
            groups.setdefault(((sample.adapter, sample.lora_scale), sample.stratum, sample.prompt), []).append(number)
    for (under, stratum, prompt), numbers in groups.items():
        same = [base[prompt, swept[number].seed] for number in numbers]
        yield (
            under,
            stratum,
            prompt,
            Cell(stratum, prompt, seen.take(numbers), seen.take(same)),
            [swept[number] for number in numbers],
        )


def _told(
    sample: SampleResult,
    place: Mapping[Sample, int],
    told: Mapping[Sample, dict[str, float]],
    apart: Mapping[Sample, float | None],
    nearest: Sequence[tuple[str, float]] | None,
) -> SampleResult:
    """The sample with what was measured of it."""
    if sample.sample not in place:
        return sample
    found = apart[sample.sample]
    name, cosine = nearest[place[sample.sample]] if nearest and sample.stratum != "control" else (None, None)
    return sample.model_copy(
        update={
            "distance": None if found is None else round(found, DIGITS),
            "metrics": told.get(sample.sample, {}),
            "nearest": name,
            "nearest_cosine": cosine,
        }
    )


def _grouped(swept: Sequence[SampleResult]) -> dict[Under, list[SampleResult]]:
    groups: dict[Under, list[SampleResult]] = {}
    for sample in swept:
        groups.setdefault((sample.adapter, sample.lora_scale), []).append(sample)
    return groups


def _means(values: Iterable[tuple[str, float | None]]) -> dict[str, float]:
    """The mean of each prompt's values that are there."""
    groups: dict[str, list[float]] = {}
    for prompt, value in values:
        if value is not None:
            groups.setdefault(prompt, []).append(value)
    return {prompt: float(np.mean(found)) for prompt, found in groups.items()}


def _between(groups: Sequence[Features]) -> float | None:
    """The mean distance between rows of different ``groups``; None with fewer than two."""
    if len(groups) < 2:
        return None
    pairs = [1 - one @ other.T for number, one in enumerate(groups) for other in groups[number + 1 :]]
    return float(np.mean([pair.mean() for pair in pairs]))


def _lead(pictures: Mapping[str, Features], texts: Mapping[str, Values]) -> float | None:
    """By how much nearer pictures are to their own text than to those of other prompts, on average; None with fewer than two."""
    if len(pictures) < 2:
        return None
    own, others = [], []
    for prompt, rows in pictures.items():
        own.append(float((rows @ texts[prompt]).mean()))
        others += [float((rows @ texts[other]).mean()) for other in pictures if other != prompt]
    return float(np.mean(own) - np.mean(others))


def _among_themselves(seen: Seen | None) -> float | None:
    """The mean cosine of pictures with one another; None with fewer than two."""
    if seen is None or len(seen) < 2:
        return None
    count = len(seen)
    return float(((seen.features @ seen.features.T).sum() - count) / (count * (count - 1)))


def _features(seen: Seen | None) -> Features | None:
    return None if seen is None else seen.features


def _of(plan: Plan, phase: Phase) -> list[Sample]:
    return [sample for sample in plan.samples if sample.phase == phase]


def _base(sample: Sample) -> Sample:
    return Sample("sweep", sample.stratum, sample.prompt, sample.seed, None, 0.0)


def _moved(sample: Sample, phase: Phase) -> Sample:
    return Sample(phase, sample.stratum, sample.prompt, sample.seed, sample.adapter, sample.lora_scale)
