"""Two evaluations compared, on results made by hand."""

import json
from pathlib import Path

import pytest

from evaluation import compare
from evaluation.results import Results, read_results, write_results
from foundation.errors import BAD_INPUT, DONE, FAILED
from tests.evaluation.report.results import write_example


@pytest.fixture
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The folders of two reports, of the runs ``one`` and ``other``."""
    monkeypatch.chdir(tmp_path)
    for name in ("one", "other"):
        write_example(compare.OUT / name, several=name == "other")
        _change(compare.OUT / name, run=name)
    return compare.OUT / "one", compare.OUT / "other"


def _change(folder: Path, **changes: object) -> Results:
    results = read_results(folder).model_copy(update=changes)
    write_results(folder, results)
    return results


def _with_gain(folder: Path, gain: float, passes: bool = False) -> None:
    """Change the similarity of the first adapter of ``folder`` by ``gain``, and a little more from prompt to prompt."""
    results = read_results(folder)
    candidates = list(results.candidates)
    adapter = candidates[1]
    similarity = {
        prompt: value + gain + index / 1000 for index, (prompt, value) in enumerate(adapter.by_prompt["similarity"].items())
    }
    guards = tuple(guard.model_copy(update={"passed": passes}) for guard in adapter.guards)
    candidates[1] = adapter.model_copy(update={"by_prompt": {**adapter.by_prompt, "similarity": similarity}, "guards": guards})
    _change(folder, candidates=tuple(candidates))


def test_a_report_is_not_worse_than_itself(reports: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert compare.main(["one", "one", "--fail-if-worse"]) == DONE
    output = capsys.readouterr().out
    assert "A  one: first at 0.8" in output
    assert "+0.000" in output
    assert "worse" not in output


def test_an_adapter_with_significantly_lower_similarity_is_worse_and_fails_only_on_demand(
    reports: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    _with_gain(reports[1], -0.05)
    assert compare.main(["one", "other:first"]) == DONE
    assert "worse: similarity by -0.0" in capsys.readouterr().out
    assert compare.main(["one", "other:first", "--fail-if-worse"]) == FAILED
    assert compare.main(["other:first", "one", "--fail-if-worse"]) == DONE


def test_an_adapter_that_does_not_pass_a_guard_that_the_first_passes_is_worse(
    reports: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    for folder, passes in zip(reports, (True, False), strict=True):
        _with_gain(folder, 0.0, passes)
    assert compare.main(["one", "other:first", "--fail-if-worse"]) == FAILED
    assert "guard drift fails" in capsys.readouterr().out
    results = read_results(reports[1])
    without_guards = [candidate.model_copy(update={"guards": ()}) for candidate in results.candidates]
    _change(reports[1], candidates=tuple(without_guards))
    assert compare.main(["one", "other:first", "--fail-if-worse"]) == FAILED
    assert "guard drift was not measured" in capsys.readouterr().out


def test_reports_without_shared_prompts_are_refused(reports: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    results = read_results(reports[1])
    other_prompts = {"a thing": 0.1, "a cow": 0.2}
    candidates = [
        candidate.model_copy(update={"by_prompt": {**candidate.by_prompt, "similarity": other_prompts}})
        for candidate in results.candidates
    ]
    _change(reports[1], candidates=tuple(candidates))
    assert compare.main(["one", "other:first", "--fail-if-worse"]) == BAD_INPUT
    assert "fewer than two prompts" in capsys.readouterr().err


def test_two_adapters_of_one_report_are_compared(reports: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert compare.main([f"{reports[1]}:first", "other:second"]) == DONE
    output = capsys.readouterr().out
    assert "B  other: second at 0.8" in output
    assert "+0.100" in output


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base": {"name": "x", "sha256": "0", "device": "cpu", "precision": "fp32"}}, "the same base"),
        ({"protocol_version": 1}, "the same protocol"),
        (
            {"dataset": {"held_out": 1, "training": 1, "held_out_sha256": "0", "training_sha256": "0"}},
            "the same held-out images",
        ),
        ({"settings": {"seeds": [1, 2], "scales": [0.0, 0.8], "steps": 30, "cfg": 5.0}}, "the same steps"),
    ],
)
def test_reports_whose_figures_have_different_meanings_are_refused(
    reports: tuple[Path, Path], capsys: pytest.CaptureFixture[str], changes: dict[str, object], message: str
) -> None:
    _change(reports[1], **changes)
    assert compare.main(["one", "other:first"]) == BAD_INPUT
    assert message in capsys.readouterr().err


def test_a_report_with_a_failed_gate_is_refused(reports: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    results = read_results(reports[1])
    _change(reports[1], gates=(results.gates[0].model_copy(update={"state": "failed"}),))
    assert compare.main(["one", "other:first"]) == BAD_INPUT
    assert "a gate failed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone", "one"], "neither a folder nor a run"),
        (["one:third", "one"], "no adapter named 'third'"),
        (["one", "one", "--scale-b", "0.3"], "was not evaluated at scale 0.3, only at 0.8"),
    ],
)
def test_a_missing_run_adapter_or_scale_is_named(
    reports: tuple[Path, Path], capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert compare.main(arguments) == BAD_INPUT
    assert message in capsys.readouterr().err


def test_an_invalid_results_file_is_an_error_that_names_it(
    reports: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    for text in ("{", "[]", json.dumps({"schema_version": 1})):
        (reports[0] / "results.json").write_text(text)
        assert compare.main(["one", "other:first"]) == BAD_INPUT
        assert "results.json" in capsys.readouterr().err


def test_another_program_gets_the_same_figures_as_json(reports: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    _with_gain(reports[1], -0.05)
    assert compare.main(["one", "other:first", "--json"]) == DONE
    found = json.loads(capsys.readouterr().out)
    assert (found["first"], found["second"]) == ("one: first at 0.8", "other: first at 0.8")
    similarity = next(difference for difference in found["differences"] if difference["metric"] == "similarity")
    assert similarity["change"]["low"] < similarity["change"]["mean"] < similarity["change"]["high"] < 0
    assert found["worse"][0].startswith("similarity by -0.0")
