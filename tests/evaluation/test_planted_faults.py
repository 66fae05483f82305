"""Servers with a planted fault: each fault fails exactly one gate, and a failed gate voids the figures."""

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
from tests.evaluation.conftest import Fault, faulty_server

pytestmark = pytest.mark.slow

PROMPTS = """
trained: ['a red {trigger}', 'a blue {trigger}', 'a pink {trigger}', 'a cyan {trigger}']
control: ['a blue star', 'a red heart']
seeds: [1, 2]
scales: [0, 0.4, 1.0]
extractors: [pixel]
steps: 3
"""

Generate = Callable[[dict[str, Any]], dict[str, Any]]
"""Sends a request to the real server."""


def no_fault(fields: dict[str, Any], generate: Generate) -> dict[str, Any]:
    return generate(fields)


def applies_the_adapter_at_scale_zero(fields: dict[str, Any], generate: Generate) -> dict[str, Any]:
    return generate({**fields, "lora_scale": 0.05} if fields.get("lora_scale") == 0 else fields)


def never_applies_the_adapter(fields: dict[str, Any], generate: Generate) -> dict[str, Any]:
    return generate({**fields, "lora_scale": 0} if fields.get("lora_scale") else fields)


def ignores_the_scale(fields: dict[str, Any], generate: Generate) -> dict[str, Any]:
    return generate({**fields, "lora_scale": 1.0} if fields.get("lora_scale") else fields)


def keeps_the_adapter() -> Fault:
    """Part of an adapter stays applied after it was used."""
    was_applied = threading.Event()

    def fault(fields: dict[str, Any], generate: Generate) -> dict[str, Any]:
        if fields.get("lora_scale"):
            was_applied.set()
        elif fields.get("lora_scale") == 0 and was_applied.is_set():
            return generate({**fields, "lora_scale": 0.1})
        return generate(fields)

    return fault


def is_not_deterministic() -> Fault:
    """Every image has a little random noise."""
    count = itertools.count()

    def noisy(image: dict[str, Any]) -> dict[str, Any]:
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(image["b64_json"]))).convert("RGB")).astype(int)
        noise = np.random.default_rng(next(count)).integers(-1, 2, pixels.shape)
        buffer = io.BytesIO()
        Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8)).save(buffer, format="png")
        return {**image, "b64_json": base64.b64encode(buffer.getvalue()).decode()}

    def fault(fields: dict[str, Any], generate: Generate) -> dict[str, Any]:
        response = generate(fields)
        return {**response, "images": [noisy(image) for image in response["images"]]}

    return fault


@pytest.fixture
def judged(workspace: Path, server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Fault], Results]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prompts.yaml").write_text(PROMPTS)
    reference = workspace.parent / "references"
    reference.mkdir(exist_ok=True)
    Image.new("RGB", (128, 128), "red").save(reference / "1.png")

    def judge(fault: Fault) -> Results:
        with faulty_server(server, fault) as url:
            arguments = ["--server", url, "--adapter", "models/lora/a/a.safetensors", "--trigger", "zbadge"]
            arguments += ["--references", str(reference), "--prompts", "prompts.yaml", "--run", "r"]
            assert evaluation.main(arguments) == DONE
        return read_results(Path("outputs/lora_eval/r"))

    return judge


def test_a_correct_server_passes_every_gate(judged: Callable[[Fault], Results]) -> None:
    results = judged(no_fault)
    assert [gate.state for gate in results.gates] == ["passed"] * 5
    assert not results.is_void


@pytest.mark.parametrize(
    ("fault", "gate"),
    [
        (lambda: applies_the_adapter_at_scale_zero, "zero is the base"),
        (keeps_the_adapter, "nothing sticks"),
        (lambda: never_applies_the_adapter, "the adapter counts"),
        (lambda: ignores_the_scale, "the scale counts"),
        (is_not_deterministic, "it repeats"),
    ],
)
def test_a_planted_fault_fails_exactly_its_gate(
    judged: Callable[[Fault], Results], fault: Callable[[], Fault], gate: str
) -> None:
    results = judged(fault())
    assert [finding.name for finding in results.gates if finding.state == "failed"] == [gate], results.gates
    assert results.is_void
    assert results.verdict.outcome == "inconclusive"
    assert "a gate failed" in results.verdict.reason
    page = Path("outputs/lora_eval/r/report.html").read_text()
    assert "A gate failed: these figures are not valid" in page
