"""The whole way from a prompt to a verdict still gives the recorded numbers.

On the kind of machine that they were recorded on, with the same packages, they are the same bytes; elsewhere they are as near as
the arithmetic of another processor leaves them.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from foundation.files import read_json
from tests.conftest import ROOT

pytestmark = pytest.mark.slow

RECORDED = Path(__file__).parent / "sdxl"
LATENTS_APART, LOSSES_APART, WEIGHTS_APART, FIGURES_APART = 1e-3, 1e-3, 2e-4, 5e-3
"""How far numbers may lie apart on another kind of machine."""


@pytest.fixture(scope="module")
def produced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same job done again by this checkout."""
    folder = tmp_path_factory.mktemp("golden")
    command = [sys.executable, "-m", "tests.golden.produce", str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def _is_same_machine(produced: Path) -> bool:
    return bool(read_json(produced / "machine.json") == read_json(RECORDED / "machine.json"))


@pytest.mark.parametrize("name", ["latents.safetensors", "losses.json", "adapter.safetensors", "results.json"])
def test_on_the_machine_they_were_recorded_on_they_are_the_same_bytes(produced: Path, name: str) -> None:
    if not _is_same_machine(produced):
        pytest.skip("another processor or other packages than those of the record: compared within tolerances instead")
    assert (produced / name).read_bytes() == (RECORDED / name).read_bytes()


@pytest.mark.parametrize(("name", "apart"), [("latents.safetensors", LATENTS_APART), ("adapter.safetensors", WEIGHTS_APART)])
def test_tensors_are_those_that_were_recorded(produced: Path, name: str, apart: float) -> None:
    made, recorded = load_file(produced / name), load_file(RECORDED / name)
    assert made.keys() == recorded.keys()
    for key, tensor in recorded.items():
        assert made[key].shape == tensor.shape, key
        assert (made[key].float() - tensor.float()).abs().max() <= apart, key


def test_the_losses_of_twenty_steps_are_those_that_were_recorded(produced: Path) -> None:
    recorded = read_json(RECORDED / "losses.json")
    assert len(recorded) == 20
    assert read_json(produced / "losses.json") == pytest.approx(recorded, rel=LOSSES_APART)


def test_the_evaluation_comes_to_the_recorded_results(produced: Path) -> None:
    _assert_near(read_json(produced / "results.json"), read_json(RECORDED / "results.json"), "results")


def _assert_near(made: Any, recorded: Any, where: str) -> None:
    """Same structure, same words, numbers within a tolerance; hashes differ where bytes do."""
    if isinstance(recorded, dict):
        assert made.keys() == recorded.keys(), where
        for key, value in recorded.items():
            if "sha256" not in key:
                _assert_near(made[key], value, f"{where}.{key}")
    elif isinstance(recorded, list):
        assert len(made) == len(recorded), where
        for place, (one, other) in enumerate(zip(made, recorded, strict=True)):
            _assert_near(one, other, f"{where}[{place}]")
    elif isinstance(recorded, float):
        assert made == pytest.approx(recorded, abs=FIGURES_APART), where
    else:
        assert made == recorded, where
