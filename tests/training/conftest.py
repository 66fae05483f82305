"""A prepared data set beside the miniature, and the arguments of a run of a few steps."""

from pathlib import Path

import pytest

from training import prepare_dataset

QUICK = ["steps=6", "batch=2", "prior.images=4", "prior.batch=2", "prior.steps=2", "checkpoint_every=2"]


@pytest.fixture
def prepared(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, miniature: Path) -> Path:
    """A prepared data set in a folder of its own, with the miniature at its usual place."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mini-sdxl").symlink_to(miniature)
    monkeypatch.chdir(tmp_path)
    assert prepare_dataset.main(["--dataset", str(dataset)]) == 0
    return dataset


def quick_arguments(dataset: Path, run: str, *sets: str) -> list[str]:
    settings = [part for value in (*QUICK, *sets) for part in ("--set", value)]
    return ["--dataset", str(dataset), "--run", run, *settings]
