"""Results made by hand, with images, as an evaluation writes them."""

from pathlib import Path

import numpy as np
from PIL import Image

from evaluation.features.extractors.base import Identity
from evaluation.protocol.plan import VERSION, Protocol
from evaluation.results import EvaluatedAdapter, GateFinding, Results, SampleResult, write_results, write_samples
from evaluation.statistics.measure import Measurements
from evaluation.statistics.scale_choice import build_candidates, split_prompts
from foundation.verdict import Effect, Verdict
from tests.evaluation.image_features import features, reference_stats

PROTOCOL = Protocol(trained=("a red {trigger}", "a <b> & | {trigger}"), control=("a star",), seeds=(1, 2), scales=(0, 0.8))
GATES = (
    GateFinding(name="zero is the base", title="Scale 0 equals the base", state="passed", message="4 of 4 are identical."),
    GateFinding(name="it repeats", title="The same request gives the same image", state="passed", message="All are identical."),
)


def write_example(folder: Path, *, failed: bool = False, gate_fails: bool = False, several: bool = False) -> Results:
    """Write the files of an example into ``folder``; every image has one colour."""
    names = ["first", "second"] if several else ["first"]
    samples = list[SampleResult]()
    for stratum in ("trained", "control"):
        for prompt in PROTOCOL.prompts(stratum, "zbadge"):  # type: ignore[arg-type]
            for seed in PROTOCOL.seeds:
                for adapter, scale in [(None, 0.0), *((name, 0.8) for name in names)]:
                    samples.append(_sample(folder, stratum, prompt, seed, adapter, scale, len(samples)))
    if failed:
        samples[-1] = samples[-1].model_copy(update={"status": "failed", "image": None, "error": "500 | <oops>"})
    (folder / "held_out").mkdir(parents=True, exist_ok=True)
    (folder / "training").mkdir(exist_ok=True)
    for name in ("held_out/01.png", "training/t.png"):
        Image.new("RGB", (16, 16), "teal").save(folder / name)
    results = _results(names, len(samples), failed, gate_fails)
    write_samples(folder, samples)
    write_results(folder, results)
    return results


def _sample(folder: Path, stratum: str, prompt: str, seed: int, adapter: str | None, scale: float, number: int) -> SampleResult:
    name = f"images/{number:02d}.png"
    (folder / "images").mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((16, 24, 3), number * 9 % 256, np.uint8)).save(folder / name)
    return SampleResult.model_validate(
        {
            "phase": "sweep",
            "stratum": stratum,
            "prompt": prompt,
            "seed": seed,
            "adapter": adapter,
            "lora_scale": scale,
            "status": "ok",
            "image": name,
            "distance": 0.0 if adapter is None else 0.2,
            "nearest": None if stratum == "control" else "training/t.png",
            "nearest_cosine": None if stratum == "control" else 0.9,
        }
    )


def _results(names: list[str], requested: int, failed: bool, gate_fails: bool) -> Results:
    measurements = Measurements([], reference_stats(held_out=features([1, 0, 0])), 0.6)
    prompts = PROTOCOL.prompts("trained", "zbadge")
    for number, name in enumerate([None, *names]):
        adapter_scale = (name, 0.0 if name is None else 0.8)
        values = {prompt: 0.2 + number / 10 + index / 50 for index, prompt in enumerate(prompts)}
        base = {"similarity": dict.fromkeys(prompts, 0.2), "drift": {"a star": 0.0}}
        measurements.by_prompt[adapter_scale] = {"similarity": values, "drift": {"a star": number / 100}}
        measurements.base_by_prompt[adapter_scale] = base
        measurements.distances[adapter_scale] = dict.fromkeys(prompts, number / 10)
    halves = split_prompts(PROTOCOL, "zbadge")
    candidates = build_candidates(measurements, dict.fromkeys(measurements.by_prompt, (6, 6)), halves)
    gates = (GATES[0].model_copy(update={"state": "failed"}), *GATES[1:]) if gate_fails else GATES
    effect = Effect(mean=0.1, low=0.05, high=0.15, prompts=8)
    verdict = Verdict(
        protocol_version=VERSION,
        outcome="inconclusive" if gate_fails else "recommended",
        reason="a gate failed" if gate_fails else "the smallest of all",
        adapter="first",
        adapter_sha256="a" * 64,
        base_sha256="b" * 64,
        lora_scale=None if gate_fails else 0.8,
        metric="similarity",
        extractor="pixel",
        effect=None if gate_fails else effect,
        share_of_gap=None if gate_fails else 0.25,
    )
    return Results(
        protocol_version=VERSION,
        run="demo",
        trigger="zbadge",
        base={"name": "models/mini-sdxl", "sha256": "b" * 64, "device": "cpu", "precision": "fp32"},
        adapters=tuple(EvaluatedAdapter(name=name, path=f"models/{name}.safetensors", sha256="a" * 64) for name in names),
        extractors=(Identity(name="pixel", weights=None, revision="16x16", is_smoke_check=True),),
        dataset={"held_out": 1, "training": 1, "held_out_sha256": "c" * 64, "training_sha256": "e" * 64},
        prompts_sha256="d" * 64,
        settings={"seeds": [1, 2], "scales": [0.0, 0.8], "steps": 3, "cfg": 5.0},
        environment={"packages": {"torch": "2"}, "platform": {"system": "Linux"}, "git": None},
        requested=requested,
        generated=requested - failed,
        gates=gates,
        primary="similarity",
        ceiling=0.6,
        halves=halves,
        candidates=candidates,
        verdict=verdict,
    )
