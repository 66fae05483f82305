"""Each gate on evidence made by hand: what it passes, what it fails, and that no other gate fails with it."""

from dataclasses import replace

import pytest

from evaluation.results import void_all
from evaluation.statistics.gates import Evidence, Pair, judge_gates

IDENTICAL = [Pair("a", 0.0, True), Pair("b", 0.0, True)]
CHANGED = [Pair("a", 0.05, False), Pair("b", 0.08, False)]
GROWTH = {"z": {0.4: {"a": 0.01, "b": 0.02}, 0.8: {"a": 0.03, "b": 0.04}, 1.0: {"a": 0.05, "b": 0.05}}}
DECREASE = {"z": {0.4: dict.fromkeys("abc", 0.05), 0.8: {"a": 0.01, "b": 0.02, "c": 0.015}, 1.0: dict.fromkeys("abc", 0.06)}}
CORRECT = Evidence(IDENTICAL, IDENTICAL, {"z": CHANGED}, IDENTICAL, GROWTH, is_exact=True)


def _failed(evidence: Evidence) -> list[str]:
    return [gate.name for gate in judge_gates(evidence) if gate.state == "failed"]


def test_a_correct_server_passes_every_gate() -> None:
    gates = judge_gates(CORRECT)
    assert [gate.state for gate in gates] == ["passed"] * 5
    assert "2 of 2 images are identical to the last bit" in gates[0].message


@pytest.mark.parametrize(
    ("evidence", "failed"),
    [
        (replace(CORRECT, zero_at_start=CHANGED), ["zero is the base"]),
        (replace(CORRECT, zero_at_end=CHANGED), ["nothing sticks"]),
        (replace(CORRECT, strongest={"z": IDENTICAL}), ["the adapter counts"]),
        (replace(CORRECT, growth={"z": {0.4: {"a": 0.05}, 1.0: {"a": 0.05}}}), ["the scale counts"]),
        (replace(CORRECT, growth=DECREASE), ["the scale counts"]),
        (replace(CORRECT, repeated=[Pair("a", 0.001, False)]), ["it repeats"]),
    ],
)
def test_each_fault_fails_its_gate_and_no_other(evidence: Evidence, failed: list[str]) -> None:
    assert _failed(evidence) == failed


def test_growth_is_not_judged_for_an_adapter_that_changes_nothing() -> None:
    gates = judge_gates(replace(CORRECT, strongest={"z": IDENTICAL}, growth={"z": {0.4: {"a": 0.0}, 1.0: {"a": 0.0}}}))
    assert [gate.state for gate in gates] == ["passed", "passed", "failed", "not judged", "passed"]


def test_with_a_single_scale_growth_is_not_judged_and_nothing_is_void() -> None:
    assert _failed(replace(CORRECT, growth={"z": {1.0: {"a": 0.05}}})) == []


def test_a_decrease_within_the_interval_does_not_fail_the_gate() -> None:
    growth = {
        "z": {
            0.4: {"a": 0.02, "b": 0.02, "c": 0.02},
            0.8: {"a": 0.06, "b": 0.03, "c": 0.05},
            1.0: {"a": 0.05, "b": 0.04, "c": 0.045},
        }
    }
    assert _failed(replace(CORRECT, growth=growth)) == []


def test_on_a_device_that_rounds_differences_up_to_the_noise_floor_pass() -> None:
    noise, difference = [Pair("a", 0.002, False)], [Pair("a", 0.05, False)]
    growth = {
        "z": {
            0.8: dict(zip("abcd", (0.040, 0.041, 0.039, 0.04), strict=True)),
            1.0: dict(zip("abcd", (0.045, 0.046, 0.044, 0.047), strict=True)),
        }
    }
    rounding = replace(CORRECT, repeated=noise, zero_at_start=noise, zero_at_end=noise, growth=growth, is_exact=False)
    assert _failed(rounding) == []
    assert _failed(replace(rounding, zero_at_start=difference)) == ["zero is the base"]
    assert _failed(replace(rounding, strongest={"z": noise})) == ["the adapter counts"]
    assert "it repeats" in _failed(replace(rounding, repeated=difference))


def test_a_gate_whose_images_could_not_be_compared_fails() -> None:
    gates = judge_gates(replace(CORRECT, zero_at_end=[IDENTICAL[0], None]))
    assert [gate.name for gate in gates if gate.state == "failed"] == ["nothing sticks"]
    assert "1 of 2 images could not be compared" in gates[1].message


def test_on_a_device_that_rounds_growth_must_be_significant() -> None:
    noisy = {"z": {0.8: {"a": 0.04, "b": 0.041, "c": 0.039}, 1.0: {"a": 0.042, "b": 0.038, "c": 0.041}}}
    rounding = replace(CORRECT, repeated=[Pair("a", 0.002, False)], growth=noisy, is_exact=False)
    assert _failed(rounding) == ["the scale counts"]


def test_several_adapters_are_judged_separately() -> None:
    growth = {"good": GROWTH["z"], "idle": {0.4: {"a": 0.0}, 1.0: {"a": 0.0}}, "rigid": {0.4: {"a": 0.05}, 1.0: {"a": 0.05}}}
    gates = judge_gates(replace(CORRECT, strongest={"good": CHANGED, "idle": IDENTICAL, "rigid": CHANGED}, growth=growth))
    assert {(gate.adapter, gate.name) for gate in gates if gate.state == "failed"} == {
        ("idle", "the adapter counts"),
        ("rigid", "the scale counts"),
    }
    assert "idle: the strongest scale differs from scale 0" in [gate.title for gate in gates]
    assert void_all(gates, ["good", "idle", "rigid"]) is None
    assert [gate.adapter for gate in void_all(gates, ["idle", "rigid"]) or []] == ["idle", "rigid"]
