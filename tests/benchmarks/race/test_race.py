"""The peers' own code makes the same work of what this project gives it."""

import json
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from benchmarks.race import material
from benchmarks.race.contest import Entry, race
from benchmarks.race.race import PEERS
from training import prepare_dataset

pytestmark = pytest.mark.slow


def test_both_train_the_same_modules_on_the_same_images(tmp_path: Path, dataset: Path) -> None:
    prepare_dataset.main(["--dataset", str(dataset), "--recipe", "mini"])
    ours = [sys.executable, "-m", "benchmarks.race.own_training", str(tmp_path), str(dataset), "2"]
    theirs = [sys.executable, str(PEERS / "diffusers_training.py"), str(tmp_path)]
    times = race([Entry("ours", ours, tmp_path / "ours.log"), Entry("theirs", theirs, tmp_path / "theirs.log")], 1, 1)
    assert set(times) == {"ours", "theirs"}
    plan = json.loads((tmp_path / material.PLAN).read_text())
    assert (plan["batch_size"], plan["rank"]) == (2, 32)
    assert len(plan["modules"]) == 140
    examples = load_file(tmp_path / material.EXAMPLES)
    assert len({len(tensor) for tensor in examples.values()}) == 1
