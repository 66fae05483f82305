"""Run an evaluation from a task to its results: collect images, extract features, judge gates, measure, choose a scale."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image

from evaluation import metrics
from evaluation.collection.client import Client, ServedModel
from evaluation.collection.collect import Collector
from evaluation.collection.subjects import identify_adapter
from evaluation.features.concept_images import load_image
from evaluation.features.extraction import ExtractorSet
from evaluation.features.extractors import open_extractor, unread_prompt
from evaluation.features.sweep import AdapterScale
from evaluation.protocol.plan import VERSION, Protocol
from evaluation.results import (
    DIGITS,
    HELD_OUT,
    Candidate,
    EvaluatedAdapter,
    GateFinding,
    Results,
    SampleResult,
    read_results,
    void_all,
    write_results,
    write_samples,
)
from evaluation.statistics.evidence import collect_evidence
from evaluation.statistics.gates import judge_gates
from evaluation.statistics.measure import Measurements, measure, training_image_name
from evaluation.statistics.scale_choice import (
    BASE,
    MIN_GAP,
    Choice,
    Halves,
    build_candidates,
    choose,
    similarity_gap,
    split_prompts,
)
from evaluation.task import Task
from foundation.errors import StageFailed
from foundation.files import atomic_file, read_json, write_json
from foundation.manifest import git_state, package_versions, platform_info
from foundation.verdict import NAME as VERDICT
from foundation.verdict import Effect, Verdict, write_verdict

_SERVER = "server.json"
_MAX_HELD_OUT_SHOWN = 8
"""At most this many held-out images are copied for the reports."""


def evaluate(task: Task, client: Client, folder: Path, in_flight: int) -> Results:
    """Evaluate ``task`` into ``folder``: images, ``samples.jsonl``, ``results.json`` and ``verdict.json``."""
    opened = tuple(open_extractor(spec) for spec in task.protocol.extractors)  # 1. the feature extractors
    extractors = ExtractorSet(opened, tuple(task.protocol.texts.values()))
    base = client.served_model()  # 2. the server's model and the adapters
    _discard_other_images(folder, base)
    adapters = [identify_adapter(client, name, path, task.protocol.variant) for name, path in task.adapters.items()]
    samples = Collector(client, task.protocol, task.adapters, folder, in_flight).collect(task.plan)  # 3. images
    if not any(sample.status == "ok" for sample in samples):
        raise StageFailed(f"no image was generated: {samples[0].error}")
    measurements = measure(samples, folder, task.protocol, task.trigger, extractors, task.references)  # 4. figures
    gates = judge_gates(collect_evidence(measurements, task.plan, folder, base.is_exact))  # 5. gates, before any statistic
    gates += _language_gate(task.protocol)
    halves = split_prompts(task.protocol, task.trigger)
    candidates = build_candidates(measurements, _count_images(samples), halves)  # 6. statistics
    verdict = _decide(gates, candidates, halves, measurements, base, adapters, extractors)  # 7. the rule
    results = Results(
        protocol_version=VERSION,
        run=task.run,
        trigger=task.trigger,
        base={"name": base.name, "sha256": base.sha256, "device": base.device, "precision": base.precision},
        adapters=tuple(adapters),
        extractors=tuple(extractor.identity for extractor in extractors.extractors),
        dataset=task.references.summary(),
        prompts_sha256=task.prompts_sha256,
        settings=_settings(task),
        environment={"packages": package_versions(), "platform": platform_info(), "git": git_state()},
        requested=len(samples),
        generated=sum(sample.status == "ok" for sample in samples),
        gates=gates,
        primary=metrics.PRIMARY,
        ceiling=measurements.ceiling,
        halves=halves,
        candidates=candidates,
        verdict=verdict,
    )
    _copy_references(task, measurements.samples, folder)
    results = Results.model_validate(_rounded(results.model_dump(mode="json")))
    write_samples(folder, measurements.samples)
    write_results(folder, results)
    write_verdict(folder / VERDICT, results.verdict)
    if results.generated == results.requested:
        (folder / _SERVER).unlink()
    # The reports are rendered from what is on the disk, so that they can be rendered again from the same values.
    return read_results(folder)


def _language_gate(protocol: Protocol) -> tuple[GateFinding, ...]:
    """Say it if no extractor reads the language of the prompts: what compares images with texts is not measured then."""
    texts = list(protocol.texts.values())
    unread = {
        "Prompt following": unread_prompt(protocol.extractors, texts),
        "Preference": unread_prompt(protocol.extractors, texts, is_preference=True),
    }
    messages = [
        f"{metric} is not measured: no extractor for it reads the language of “{prompt}”."
        for metric, prompt in unread.items()
        if prompt is not None
    ]
    if not messages:
        return ()
    title = "Extractors read the language of the prompts"
    return (GateFinding(name="prompts are read", title=title, state="not judged", message=" ".join(messages)),)


def _discard_other_images(folder: Path, base: ServedModel) -> None:
    """Empty ``folder`` if another model or device generated its images: the two must not be mixed."""
    path, server = folder / _SERVER, asdict(base)
    if path.exists() and read_json(path) != server:
        shutil.rmtree(folder)
    write_json(path, server)


def _copy_references(task: Task, samples: Sequence[SampleResult], folder: Path) -> None:
    """Copy the concept's images that the reports show: some held-out images and every nearest training image."""
    nearest = {sample.nearest for sample in samples if sample.nearest}
    held_out = enumerate(task.references.held_out[:_MAX_HELD_OUT_SHOWN], start=1)
    copies = {f"{HELD_OUT}/{number:02d}.png": path for number, path in held_out}
    copies |= {name: path for path in task.references.training if (name := training_image_name(path)) in nearest}
    for name, path in copies.items():
        with atomic_file(folder / name) as temporary:
            # Pixels only: reports are shared, and a photo's metadata says where it was taken.
            Image.fromarray(load_image(path, task.references.background)).save(temporary, "png")


def _count_images(samples: Sequence[SampleResult]) -> dict[AdapterScale, tuple[int, int]]:
    """Return how many images of the sweep were requested and generated at each scale, the base first."""
    counts: dict[AdapterScale, tuple[int, int]] = {BASE: (0, 0)}
    for sample in samples:
        if sample.phase == "sweep":
            requested, generated = counts.get((sample.adapter, sample.lora_scale), (0, 0))
            counts[sample.adapter, sample.lora_scale] = (requested + 1, generated + (sample.status == "ok"))
    return counts


def _settings(task: Task) -> Mapping[str, Any]:
    names = {"steps", "cfg", "negative_prompt", "width", "height", "scheduler", "variant", "seeds", "scales"}
    return {**task.protocol.model_dump(mode="json", include=names, exclude_none=True), "trigger": task.trigger}


def _decide(
    gates: Sequence[GateFinding],
    candidates: Sequence[Candidate],
    halves: Halves,
    measurements: Measurements,
    base: ServedModel,
    adapters: Sequence[EvaluatedAdapter],
    extractors: ExtractorSet,
) -> Verdict:
    if failed := void_all(gates, {adapter.name for adapter in adapters}):
        titles = "; ".join(f"“{gate.title}”" for gate in failed)
        choice = Choice("inconclusive", f"a gate failed, so no figure is valid: {titles}")
    else:
        void_adapters = {gate.adapter for gate in gates if gate.state == "failed"}
        valid = [candidate for candidate in candidates if candidate.adapter not in void_adapters]
        choice = choose(valid, measurements.ceiling, halves["select"])
    chosen = choice.candidate
    only_adapter = adapters[0] if len(adapters) == 1 else None
    adapter = next((adapter for adapter in adapters if chosen and adapter.name == chosen.adapter), only_adapter)
    effect = chosen.confirmed if chosen else None
    gap = similarity_gap(candidates, measurements.ceiling)
    return Verdict(
        protocol_version=VERSION,
        outcome=choice.outcome,
        reason=choice.reason,
        adapter=adapter.name if adapter else None,
        adapter_sha256=adapter.sha256 if adapter else None,
        base_sha256=base.sha256,
        lora_scale=chosen.lora_scale if chosen else None,
        metric=metrics.PRIMARY,
        extractor=extractors.primary.identity.name,
        effect=Effect(**effect.model_dump()) if effect else None,
        share_of_gap=effect.mean / gap if effect and gap is not None and gap > MIN_GAP else None,
    )


def _rounded(value: Any) -> Any:
    """Return a JSON value with every float rounded to its significant digits: further ones are rounding errors of sums."""
    if isinstance(value, dict):
        return {name: _rounded(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_rounded(entry) for entry in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
