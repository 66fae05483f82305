"""From a task to its results: collected, looked at, gated, measured, chosen from."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image

from evaluation import metrics
from evaluation.client import Client, ServedModel
from evaluation.collect import Collector
from evaluation.evidence import evidence
from evaluation.extractors import open_extractor
from evaluation.features import ExtractorSet
from evaluation.gates import judge as judge_gates
from evaluation.measure import Measured, measure, training_name
from evaluation.protocol import VERSION
from evaluation.references import load
from evaluation.results import (
    HELD_OUT,
    Candidate,
    GateFinding,
    Results,
    SampleResult,
    Subject,
    read_results,
    void,
    write_results,
    write_samples,
)
from evaluation.selection import BASE, CLEAR, Choice, Halves, candidates, choose, gap_of, split_prompts
from evaluation.subjects import identified
from evaluation.sweep import AdapterScale
from evaluation.task import Task
from foundation.errors import StageFailed
from foundation.files import atomic_file, read_json, write_json
from foundation.manifest import git_state, package_versions, platform_facts
from foundation.rounding import rounded
from foundation.verdict import NAME as VERDICT
from foundation.verdict import Effect, Verdict, write_verdict

_SERVER = "server.json"
_SHOWN = 8
"""So many held-out images are shown at the most."""


def judge(task: Task, client: Client, folder: Path, in_flight: int) -> Results:
    """Evaluate ``task`` into ``folder``: images, ``samples.jsonl``, ``results.json`` and ``verdict.json``."""
    extractors = ExtractorSet(tuple(open_extractor(each) for each in task.protocol.extractors))  # 1. what images are compared by
    base = client.base()  # 2. who is asked about what
    _begin(folder, base)
    subjects = [identified(client, name, path, task.protocol.variant) for name, path in task.adapters.items()]
    samples = Collector(client, task.protocol, task.adapters, folder, in_flight).collect(task.plan)  # 3. images
    if not any(sample.status == "ok" for sample in samples):
        raise StageFailed(f"no image was answered: {samples[0].error}")
    measured = measure(samples, folder, task.protocol, task.trigger, extractors, task.references)  # 4. figures
    gates = judge_gates(evidence(measured, task.plan, folder, base.is_exact))  # 5. gates, before any statistic
    halves = split_prompts(task.protocol, task.trigger)
    found = candidates(measured, _counts(samples), halves)  # 6. statistics
    verdict = _verdict(gates, found, halves, measured, base, subjects, extractors)  # 7. the rule
    results = Results(
        protocol_version=VERSION,
        run=task.run,
        trigger=task.trigger,
        base={"name": base.name, "sha256": base.sha256, "device": base.device, "precision": base.precision},
        adapters=tuple(subjects),
        extractors=tuple(each.identity for each in extractors.extractors),
        dataset=task.references.facts(),
        prompts_sha256=task.prompts_sha256,
        settings=_settings(task),
        environment={"packages": package_versions(), "platform": platform_facts(), "git": git_state()},
        asked=len(samples),
        answered=sum(sample.status == "ok" for sample in samples),
        gates=gates,
        primary=metrics.PRIMARY,
        ceiling=measured.ceiling,
        halves=halves,
        candidates=found,
        verdict=verdict,
    )
    _keep_references(task, measured.samples, folder)
    results = Results.model_validate(rounded(results.model_dump(mode="json")))
    write_samples(folder, measured.samples)
    write_results(folder, results)
    write_verdict(folder / VERDICT, results.verdict)
    if results.answered == results.asked:
        (folder / _SERVER).unlink()
    # What is rendered is what is on the disk, now and ever after.
    return read_results(folder)


def _begin(folder: Path, base: ServedModel) -> None:
    """Leave nothing in ``folder`` that another server or device has generated: their images are not to be mixed."""
    mark, told = folder / _SERVER, asdict(base)
    if mark.exists() and read_json(mark) != told:
        shutil.rmtree(folder)
    write_json(mark, told)


def _keep_references(task: Task, samples: Sequence[SampleResult], folder: Path) -> None:
    """Copy the concept's images that the reports show: some held-out ones and every nearest training image."""
    near = {sample.nearest for sample in samples if sample.nearest}
    shown = {f"{HELD_OUT}/{number:02d}.png": path for number, path in enumerate(task.references.held_out[:_SHOWN], start=1)}
    shown |= {name: path for path in task.references.training if (name := training_name(path)) in near}
    for name, path in shown.items():
        with atomic_file(folder / name) as temporary:
            # Pixels alone: a report is given away, and a photo's file tells where it was taken.
            Image.fromarray(load(path, task.references.background)).save(temporary, "png")


def _counts(samples: Sequence[SampleResult]) -> dict[AdapterScale, tuple[int, int]]:
    """How many images of the sweep were asked for and answered, the base's first."""
    counts: dict[AdapterScale, tuple[int, int]] = {BASE: (0, 0)}
    for sample in samples:
        if sample.phase == "sweep":
            asked, answered = counts.get((sample.adapter, sample.lora_scale), (0, 0))
            counts[sample.adapter, sample.lora_scale] = (asked + 1, answered + (sample.status == "ok"))
    return counts


def _settings(task: Task) -> Mapping[str, Any]:
    how = {"steps", "cfg", "negative_prompt", "width", "height", "scheduler", "variant", "seeds", "scales"}
    return {**task.protocol.model_dump(mode="json", include=how, exclude_none=True), "trigger": task.trigger}


def _verdict(
    gates: Sequence[GateFinding],
    found: Sequence[Candidate],
    halves: Halves,
    measured: Measured,
    base: ServedModel,
    subjects: Sequence[Subject],
    extractors: ExtractorSet,
) -> Verdict:
    if failed := void(gates, {each.name for each in subjects}):
        titles = "; ".join(f"“{gate.title}”" for gate in failed)
        choice = Choice("inconclusive", f"a gate failed, so that no figure counts: {titles}")
    else:
        broken = {gate.adapter for gate in gates if gate.state == "failed"}
        choice = choose([each for each in found if each.adapter not in broken], measured.ceiling, halves["select"])
    chosen = choice.candidate
    subject = next(
        (each for each in subjects if chosen and each.name == chosen.adapter), subjects[0] if len(subjects) == 1 else None
    )
    effect = chosen.confirmed if chosen else None
    gap = gap_of(found, measured.ceiling)
    return Verdict(
        protocol_version=VERSION,
        outcome=choice.outcome,
        reason=choice.reason,
        adapter=subject.name if subject else None,
        adapter_sha256=subject.sha256 if subject else None,
        base_sha256=base.sha256,
        lora_scale=chosen.lora_scale if chosen else None,
        metric=metrics.PRIMARY,
        extractor=extractors.first.identity.name,
        effect=Effect(**effect.model_dump()) if effect else None,
        share_of_gap=effect.mean / gap if effect and gap is not None and gap > CLEAR else None,
    )
