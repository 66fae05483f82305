"""What the page for contributors shows works as it stands."""

import re

import numpy as np
import pytest
import yaml

from evaluation.metrics.base import Metric
from tests.conftest import ROOT
from tests.evaluation.image_features import X, features, prompt_samples, reference_stats

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_the_metric_of_the_example_is_one() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    module: dict[str, object] = {"__name__": "evaluation.metrics.brightness"}

    exec(compile(code, "CONTRIBUTING.md", "exec"), module)

    metric = module["METRIC"]
    assert isinstance(metric, Metric)
    images = features(X, 0.5 * X)
    values = metric.compute(prompt_samples(images, images), reference_stats())
    assert values is not None
    assert np.allclose(values, [1.0, 0.5])


@pytest.mark.parametrize("name", re.findall(r"`((?:evaluation|zthumb|miniature|training|tests)/[\w/.]+)`", PAGE))
def test_the_files_that_it_names_are_there(name: str) -> None:
    assert (ROOT / name).exists()


def test_the_hooks_run_the_ruff_that_is_pinned() -> None:
    pins = (ROOT / "training" / "requirements.dev.txt").read_text(encoding="utf-8")
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))

    assert f"ruff=={hooks['repos'][0]['rev'].removeprefix('v')}\n" in pins
