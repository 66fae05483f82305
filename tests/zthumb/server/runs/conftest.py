"""Fixtures: a project whose script is a small one, so that a run ends within a second."""

from pathlib import Path

import pytest

from zthumb.server.runs.project import Project

SCRIPT = """#!/usr/bin/env bash
set -eu
echo "prepare: 3 images"
mkdir -p "outputs/lora/$RUN"
for step in $(seq 1 "${STEPS:-3}"); do
  printf '\\rtrain: %s/3' "$step" >&2
  echo "{\\"step\\": $step, \\"loss\\": 0.5}" >> "outputs/lora/$RUN/metrics.jsonl"
  sleep "${PAUSE:-0}"
done
echo
echo "evaluate: recommended"
exit "${CODE:-0}"
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A folder with what a checkout must have, and a data set without images."""
    root = tmp_path / "project"
    (root / "scripts").mkdir(parents=True)
    (root / "scripts" / "finetune_z.sh").write_text(SCRIPT)
    (root / "datasets" / "mine" / "raw").mkdir(parents=True)
    return Project(root)
