"""Each gate on evidence made by hand: what it passes, what it fails, and that it alone does."""

from dataclasses import replace

import pytest

from evaluation.gates import Evidence, Pair, judge
from evaluation.results import void

SAME = [Pair("a", 0.0, True), Pair("b", 0.0, True)]
MOVED = [Pair("a", 0.05, False), Pair("b", 0.08, False)]
GROWTH = {"z": {0.4: {"a": 0.01, "b": 0.02}, 0.8: {"a": 0.03, "b": 0.04}, 1.0: {"a": 0.05, "b": 0.05}}}
FALL = {"z": {0.4: dict.fromkeys("abc", 0.05), 0.8: {"a": 0.01, "b": 0.02, "c": 0.015}, 1.0: dict.fromkeys("abc", 0.06)}}
SOUND = Evidence(SAME, SAME, {"z": MOVED}, SAME, GROWTH, is_exact=True)


def _failed(evidence: Evidence) -> list[str]:
    return [gate.name for gate in judge(evidence) if gate.state == "failed"]


def test_a_sound_server_passes_every_gate() -> None:
    gates = judge(SOUND)
    assert [gate.state for gate in gates] == ["passed"] * 5
    assert "2 of 2 images are the same to the last bit" in gates[0].told


@pytest.mark.parametrize(
    ("evidence", "failed"),
    [
        (replace(SOUND, zero_at_start=MOVED), ["zero is the base"]),
        (replace(SOUND, zero_at_end=MOVED), ["nothing sticks"]),
        (replace(SOUND, strongest={"z": SAME}), ["the adapter counts"]),
        (replace(SOUND, growth={"z": {0.4: {"a": 0.05}, 1.0: {"a": 0.05}}}), ["the scale counts"]),
        (replace(SOUND, growth=FALL), ["the scale counts"]),
        (replace(SOUND, repeated=[Pair("a", 0.001, False)]), ["it repeats"]),
    ],
)
def test_each_fault_fails_its_gate_and_no_other(evidence: Evidence, failed: list[str]) -> None:
    assert _failed(evidence) == failed


def test_growth_is_not_judged_of_an_adapter_that_changes_nothing() -> None:
    gates = judge(replace(SOUND, strongest={"z": SAME}, growth={"z": {0.4: {"a": 0.0}, 1.0: {"a": 0.0}}}))
    assert [gate.state for gate in gates] == ["passed", "passed", "failed", "not judged", "passed"]


def test_a_single_scale_cannot_grow_and_voids_nothing() -> None:
    assert _failed(replace(SOUND, growth={"z": {1.0: {"a": 0.05}}})) == []


def test_a_dip_within_its_interval_is_no_fall() -> None:
    growth = {
        "z": {
            0.4: {"a": 0.02, "b": 0.02, "c": 0.02},
            0.8: {"a": 0.06, "b": 0.03, "c": 0.05},
            1.0: {"a": 0.05, "b": 0.04, "c": 0.045},
        }
    }
    assert _failed(replace(SOUND, growth=growth)) == []


def test_on_a_device_that_rounds_the_gates_are_held_to_the_noise_floor() -> None:
    noise, loud = [Pair("a", 0.002, False)], [Pair("a", 0.05, False)]
    growth = {
        "z": {
            0.8: dict(zip("abcd", (0.040, 0.041, 0.039, 0.04), strict=True)),
            1.0: dict(zip("abcd", (0.045, 0.046, 0.044, 0.047), strict=True)),
        }
    }
    rounding = replace(SOUND, repeated=noise, zero_at_start=noise, zero_at_end=noise, growth=growth, is_exact=False)
    assert _failed(rounding) == []
    assert _failed(replace(rounding, zero_at_start=loud)) == ["zero is the base"]
    assert _failed(replace(rounding, strongest={"z": noise})) == ["the adapter counts"]
    assert "it repeats" in _failed(replace(rounding, repeated=loud))


def test_what_could_not_be_compared_has_not_been_passed() -> None:
    gates = judge(replace(SOUND, zero_at_end=[SAME[0], None]))
    assert [gate.name for gate in gates if gate.state == "failed"] == ["nothing sticks"]
    assert "1 of 2 images could not be compared" in gates[1].told


def test_on_a_device_that_rounds_what_does_not_surely_grow_does_not_grow() -> None:
    noisy = {"z": {0.8: {"a": 0.04, "b": 0.041, "c": 0.039}, 1.0: {"a": 0.042, "b": 0.038, "c": 0.041}}}
    rounding = replace(SOUND, repeated=[Pair("a", 0.002, False)], growth=noisy, is_exact=False)
    assert _failed(rounding) == ["the scale counts"]


def test_of_several_adapters_each_is_judged_for_itself() -> None:
    growth = {"good": GROWTH["z"], "idle": {0.4: {"a": 0.0}, 1.0: {"a": 0.0}}, "rigid": {0.4: {"a": 0.05}, 1.0: {"a": 0.05}}}
    gates = judge(replace(SOUND, strongest={"good": MOVED, "idle": SAME, "rigid": MOVED}, growth=growth))
    assert {(gate.adapter, gate.name) for gate in gates if gate.state == "failed"} == {
        ("idle", "the adapter counts"),
        ("rigid", "the scale counts"),
    }
    assert "idle: the strongest scale is not scale 0" in [gate.title for gate in gates]
    assert void(gates, ["good", "idle", "rigid"]) is None
    assert [gate.adapter for gate in void(gates, ["idle", "rigid"]) or []] == ["idle", "rigid"]
