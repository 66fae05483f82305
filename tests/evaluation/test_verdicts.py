"""The verdict on real adapters: a good one is recommended, an overfitted one is flagged, a useless one is neither."""

import shutil
from pathlib import Path

import pytest
import yaml

from evaluation import main as evaluation
from evaluation.results import Results, read_results
from evaluation.statistics.scale_choice import Choice, choose
from foundation.errors import DONE
from tests.adapters import MINI_SDXL, random_adapter
from tests.conftest import MINIATURE, ROOT
from zthumb.adapters.layouts import save_kohya

pytestmark = pytest.mark.slow

QUICK = {"seeds": [101, 102], "scales": [0, 1.0], "steps": 6}


@pytest.fixture(scope="module")
def results(workspace: Path, server: str, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Three adapters in one evaluation, with the shipped prompts, fewer seeds and fewer steps."""
    folder, adapters = tmp_path_factory.mktemp("verdicts"), workspace / "models" / "lora"
    for name in ("good", "overfitted"):
        (adapters / name).mkdir()
        shutil.copy(ROOT / "tests" / "evaluation" / "adapters" / f"{name}.safetensors", adapters / name)
    (adapters / "useless").mkdir()
    save_kohya(
        random_adapter(MINIATURE, strength=0.01), adapters / "useless" / "useless.safetensors", *MINI_SDXL, {"ss_v2": "False"}
    )
    shipped = yaml.safe_load((ROOT / "evaluation" / "prompts" / "mini.yaml").read_text())
    (folder / "prompts.yaml").write_text(yaml.safe_dump(shipped | QUICK))
    dataset = folder / "z"
    shutil.copytree(ROOT / "datasets" / "z" / "reference", dataset / "reference")
    shutil.copytree(ROOT / "datasets" / "z" / "raw", dataset / "raw")
    shutil.copy(ROOT / "datasets" / "z" / "concept.yaml", dataset)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        (folder / "models").symlink_to(ROOT / "models")
        from training.prepare_dataset import main as prepare

        assert prepare(["--dataset", "z"]) == DONE
        arguments = ["--server", server, "--dataset", "z", "--prompts", "prompts.yaml", "--run", "three"]
        for name in ("good", "overfitted", "useless"):
            arguments += ["--adapter", f"models/lora/{name}/{name}.safetensors"]
        assert evaluation.main(arguments) == DONE
        return read_results(folder / "outputs" / "lora_eval" / "three")


def _choose_from(results: Results, adapter: str) -> Choice:
    """What the rule chooses from one of the adapters."""
    candidates = [candidate for candidate in results.candidates if candidate.adapter in (None, adapter)]
    return choose(candidates, results.ceiling, results.halves["select"])


def test_every_gate_passes(results: Results) -> None:
    assert {gate.state for gate in results.gates if gate.name != "the scale counts"} == {"passed"}


def test_the_good_adapter_is_recommended_with_a_scale_and_an_effect(results: Results) -> None:
    verdict = results.verdict
    assert (verdict.outcome, verdict.adapter, verdict.lora_scale) == ("recommended", "good", 1.0)
    assert verdict.effect is not None
    assert 0 < verdict.effect.low < verdict.effect.mean
    assert verdict.extractor == "hog"
    assert "recommended at scale 1: similarity +0." in verdict.sentence


def test_the_overfitted_adapter_fails_guards_though_its_images_are_as_similar_as_those_of_the_good_one(results: Results) -> None:
    by_adapter = {candidate.adapter: candidate for candidate in results.candidates}
    good, overfitted = by_adapter["good"], by_adapter["overfitted"]
    assert good.selected is not None
    assert overfitted.selected is not None
    assert overfitted.selected.mean > good.selected.low
    assert {guard.metric for guard in overfitted.guards if not guard.passed} == {"copies", "drift"}
    assert all(guard.passed for guard in good.guards)
    assert _choose_from(results, "overfitted").outcome in ("none", "inconclusive")


def test_the_useless_adapter_is_not_recommended(results: Results) -> None:
    assert _choose_from(results, "useless").outcome in ("none", "inconclusive")
