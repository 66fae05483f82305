"""Servers with a planted fault: each makes exactly its gate fail, and a failed gate voids the figures."""

import base64
import io
import itertools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from evaluation import main as evaluation
from evaluation.results import Results, read_results
from foundation.errors import DONE
from tests.evaluation.conftest import Fault, faulty

pytestmark = pytest.mark.slow

PROMPTS = """
trained: ['a red {trigger}', 'a blue {trigger}', 'a pink {trigger}', 'a cyan {trigger}']
control: ['a blue star', 'a red heart']
seeds: [1, 2]
scales: [0, 0.4, 1.0]
extractors: [pixel]
steps: 3
"""

RequestSpec = Callable[[dict[str, Any]], dict[str, Any]]


def sound(fields: dict[str, Any], ask: RequestSpec) -> dict[str, Any]:
    return ask(fields)


def zero_is_not_the_base(fields: dict[str, Any], ask: RequestSpec) -> dict[str, Any]:
    return ask({**fields, "lora_scale": 0.05} if fields.get("lora_scale") == 0 else fields)


def never_puts_the_adapter_on(fields: dict[str, Any], ask: RequestSpec) -> dict[str, Any]:
    return ask({**fields, "lora_scale": 0} if fields.get("lora_scale") else fields)


def ignores_the_scale(fields: dict[str, Any], ask: RequestSpec) -> dict[str, Any]:
    return ask({**fields, "lora_scale": 1.0} if fields.get("lora_scale") else fields)


def leaks() -> Fault:
    """Once an adapter has counted, some of it stays on."""
    has_counted = threading.Event()

    def fault(fields: dict[str, Any], ask: RequestSpec) -> dict[str, Any]:
        if fields.get("lora_scale"):
            has_counted.set()
        elif fields.get("lora_scale") == 0 and has_counted.is_set():
            return ask({**fields, "lora_scale": 0.1})
        return ask(fields)

    return fault


def is_not_deterministic() -> Fault:
    """Every image comes with a little noise of its own."""
    count = itertools.count()

    def noisy(image: dict[str, Any]) -> dict[str, Any]:
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(image["b64_json"]))).convert("RGB")).astype(int)
        noise = np.random.default_rng(next(count)).integers(-1, 2, pixels.shape)
        kept = io.BytesIO()
        Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8)).save(kept, format="png")
        return {**image, "b64_json": base64.b64encode(kept.getvalue()).decode()}

    def fault(fields: dict[str, Any], ask: RequestSpec) -> dict[str, Any]:
        answer = ask(fields)
        return {**answer, "images": [noisy(image) for image in answer["images"]]}

    return fault


@pytest.fixture
def judged(room: Path, server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Fault], Results]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prompts.yaml").write_text(PROMPTS)
    reference = room.parent / "references"
    reference.mkdir(exist_ok=True)
    Image.new("RGB", (128, 128), "red").save(reference / "1.png")

    def judge(fault: Fault) -> Results:
        with faulty(server, fault) as url:
            arguments = ["--server", url, "--adapter", "models/lora/a/a.safetensors", "--trigger", "zbadge"]
            arguments += ["--references", str(reference), "--prompts", "prompts.yaml", "--run", "r"]
            assert evaluation.main(arguments) == DONE
        return read_results(Path("outputs/lora_eval/r"))

    return judge


def test_a_sound_server_passes_every_gate(judged: Callable[[Fault], Results]) -> None:
    results = judged(sound)
    assert [gate.state for gate in results.gates] == ["passed"] * 5
    assert not results.is_void


@pytest.mark.parametrize(
    ("fault", "gate"),
    [
        (lambda: zero_is_not_the_base, "zero is the base"),
        (leaks, "nothing sticks"),
        (lambda: never_puts_the_adapter_on, "the adapter counts"),
        (lambda: ignores_the_scale, "the scale counts"),
        (is_not_deterministic, "it repeats"),
    ],
)
def test_a_planted_fault_makes_exactly_its_gate_fail(
    judged: Callable[[Fault], Results], fault: Callable[[], Fault], gate: str
) -> None:
    results = judged(fault())
    assert [each.name for each in results.gates if each.state == "failed"] == [gate], results.gates
    assert results.is_void
    assert results.verdict.outcome == "inconclusive"
    assert "a gate failed" in results.verdict.reason
    page = Path("outputs/lora_eval/r/report.html").read_text()
    assert "A gate failed: these figures mean nothing" in page
