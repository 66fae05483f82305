"""Two evaluations compared, on results made by hand."""

import json
from pathlib import Path

import pytest

from evaluation import compare
from evaluation.results import Results, read_results, write_results
from foundation.errors import BAD_INPUT, DONE, FAILED
from tests.evaluation.report.results import write_example


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Two reports, ``one`` and ``other``, where runs are looked for."""
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
    """Change the likeness of the first adapter of ``folder`` by ``gain`` in every prompt, a little more in one."""
    results = read_results(folder)
    found = list(results.candidates)
    likeness = {
        prompt: value + gain + place / 1000 for place, (prompt, value) in enumerate(found[1].by_prompt["similarity"].items())
    }
    guards = tuple(guard.model_copy(update={"passed": passes}) for guard in found[1].guards)
    found[1] = found[1].model_copy(update={"by_prompt": {**found[1].by_prompt, "similarity": likeness}, "guards": guards})
    _change(folder, candidates=tuple(found))


def test_the_same_is_not_worse(two: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert compare.main(["one", "one", "--fail-if-worse"]) == DONE
    told = capsys.readouterr().out
    assert "A  one: first at 0.8" in told
    assert "+0.000" in told
    assert "worse" not in told


def test_one_that_surely_is_less_alike_is_worse_and_fails_if_that_is_asked(
    two: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    _with_gain(two[1], -0.05)
    assert compare.main(["one", "other:first"]) == DONE
    assert "worse: similarity by -0.0" in capsys.readouterr().out
    assert compare.main(["one", "other:first", "--fail-if-worse"]) == FAILED
    assert compare.main(["other:first", "one", "--fail-if-worse"]) == DONE


def test_one_that_fails_a_guard_that_the_first_passes_is_worse(
    two: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    for folder, passes in zip(two, (True, False), strict=True):
        _with_gain(folder, 0.0, passes)
    assert compare.main(["one", "other:first", "--fail-if-worse"]) == FAILED
    assert "guard drift fails" in capsys.readouterr().out
    results = read_results(two[1])
    bare = [each.model_copy(update={"guards": ()}) for each in results.candidates]
    _change(two[1], candidates=tuple(bare))
    assert compare.main(["one", "other:first", "--fail-if-worse"]) == FAILED
    assert "guard drift was not measured" in capsys.readouterr().out


def test_nothing_is_said_where_likeness_was_not_measured_of_the_same_prompts(
    two: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    results = read_results(two[1])
    others = [
        each.model_copy(update={"by_prompt": {**each.by_prompt, "similarity": {"a thing": 0.1, "a cow": 0.2}}})
        for each in results.candidates
    ]
    _change(two[1], candidates=tuple(others))
    assert compare.main(["one", "other:first", "--fail-if-worse"]) == BAD_INPUT
    assert "fewer than two prompts" in capsys.readouterr().err


def test_two_adapters_of_one_report_are_compared(two: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert compare.main([f"{two[1]}:first", "other:second"]) == DONE
    told = capsys.readouterr().out
    assert "B  other: second at 0.8" in told
    assert "+0.100" in told


@pytest.mark.parametrize(
    ("changes", "named"),
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
def test_figures_that_do_not_mean_the_same_are_not_compared(
    two: tuple[Path, Path], capsys: pytest.CaptureFixture[str], changes: dict[str, object], named: str
) -> None:
    _change(two[1], **changes)
    assert compare.main(["one", "other:first"]) == BAD_INPUT
    assert named in capsys.readouterr().err


def test_one_whose_gate_failed_is_not_compared(two: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    results = read_results(two[1])
    _change(two[1], gates=(results.gates[0].model_copy(update={"state": "failed"}),))
    assert compare.main(["one", "other:first"]) == BAD_INPUT
    assert "a gate failed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        (["gone", "one"], "neither a folder nor a run"),
        (["one:third", "one"], "no adapter called 'third'"),
        (["one", "one", "--scale-b", "0.3"], "was not asked at scale 0.3, but 0.8"),
    ],
)
def test_what_is_not_there_is_said(
    two: tuple[Path, Path], capsys: pytest.CaptureFixture[str], asked: list[str], named: str
) -> None:
    assert compare.main(asked) == BAD_INPUT
    assert named in capsys.readouterr().err


def test_a_file_of_another_form_is_one_line(two: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    for text in ("{", "[]", json.dumps({"schema_version": 1})):
        (two[0] / "results.json").write_text(text)
        assert compare.main(["one", "other:first"]) == BAD_INPUT
        assert "results.json" in capsys.readouterr().err
