"""The rule that recommends a scale, on figures made by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.measure import Measured
from evaluation.protocol import Protocol
from evaluation.results import Candidate
from evaluation.selection import Choice, candidates, choose, split_prompts
from tests.evaluation.image_features import known, seen

PROMPTS = tuple(f"a {{trigger}} number {number}" for number in range(16))
PROTOCOL = Protocol(trained=PROMPTS[:8], novel=PROMPTS[8:], control=("a cat", "a dog", "a cow"), extractors=("pixel",))
HALVES = split_prompts(PROTOCOL, "z")
SCATTER = np.tile([-0.02, 0.02, -0.01, 0.01], 4)
CONTROLS = ("a cat", "a dog", "a cow")


def _found(
    gains: dict[float, float], drift: dict[float, float] | None = None, confirm: dict[float, float] | None = None
) -> tuple[Candidate, ...]:
    """Candidates with such mean gains over a base of 0.2; ``confirm``: other gains in that half; ``drift`` on controls."""
    measured = Measured([], known(held_out=seen([1, 0, 0]), apart=1.0, lead=None), 0.6)
    prompts = [prompt.replace("{trigger}", "z") for prompt in PROMPTS]
    for scale, gain in {0.0: 0.0, **gains}.items():
        under = (None if scale == 0 else "z", scale)
        values = {}
        for prompt, scatter in zip(prompts, SCATTER, strict=True):
            own = (confirm or {}).get(scale, gain) if prompt in HALVES["confirm"] else gain
            values[prompt] = 0.2 + own + (0 if scale == 0 else scatter)
        of_drift = dict(zip(CONTROLS, np.array([0.0, 0.001, 0.002]) + (drift or {}).get(scale, 0.0), strict=True))
        measured.by_prompt[under] = {"similarity": values, "drift": of_drift}
        measured.at_base[under] = {"similarity": dict.fromkeys(prompts, 0.2), "drift": dict.fromkeys(CONTROLS, 0.0)}
        measured.distances[under] = dict.fromkeys(prompts, scale)
    return candidates(measured, dict.fromkeys(measured.by_prompt, (16, 16)), HALVES)


def _chosen(found: tuple[Candidate, ...]) -> tuple[str, float | None]:
    choice = choose(found, 0.6, HALVES["select"])
    return choice.outcome, choice.candidate.lora_scale if choice.candidate else None


def test_the_halves_share_each_stratum_and_no_prompt() -> None:
    assert {half: len(prompts) for half, prompts in HALVES.items()} == {"select": 8, "confirm": 8}
    assert not set(HALVES["select"]) & set(HALVES["confirm"])
    novel = {prompt.replace("{trigger}", "z") for prompt in PROTOCOL.novel}
    assert len(novel & set(HALVES["select"])) == 4


@given(st.permutations(PROMPTS[:8]), st.permutations(PROMPTS[8:]))
def test_the_halves_are_the_same_whatever_order_the_prompts_stand_in(trained: list[str], novel: list[str]) -> None:
    assert split_prompts(PROTOCOL.model_copy(update={"trained": tuple(trained), "novel": tuple(novel)}), "z") == HALVES


def test_the_smallest_scale_that_keeps_nearly_all_of_the_best_gain_is_recommended() -> None:
    assert _chosen(_found({0.4: 0.1, 0.8: 0.28, 1.0: 0.3})) == ("recommended", 0.8)
    assert _chosen(_found({0.4: 0.1, 0.8: 0.26, 1.0: 0.3})) == ("recommended", 1.0)


def test_a_scale_is_not_preferred_because_little_is_known_of_it() -> None:
    found = _found({0.8: 0.28, 1.0: 0.3})
    # As much on average, and up and down from prompt to prompt: by one standard error it may have lost a fifth.
    values = found[1].by_prompt["similarity"]
    scattered = {prompt: values[prompt] + (0.1 if number % 2 else -0.1) for number, prompt in enumerate(HALVES["select"])}
    less_sure = found[1].model_copy(update={"by_prompt": {"similarity": values | scattered}})

    assert _chosen((found[0], less_sure, found[2])) == ("recommended", 1.0)


def test_a_scale_whose_images_failed_where_the_best_ones_came_is_passed_over() -> None:
    found = _found({0.8: 0.3, 1.0: 0.3})
    values = found[1].by_prompt["similarity"]
    elsewhere = {prompt: value for prompt, value in values.items() if prompt not in HALVES["select"][1:]}
    best = found[2].model_copy(update={"selected": found[2].selected and found[2].selected.model_copy(update={"mean": 0.31})})

    assert _chosen((found[0], found[1].model_copy(update={"by_prompt": {"similarity": elsewhere}}), best)) == ("recommended", 1.0)


def test_the_gain_that_is_told_is_that_of_the_prompts_that_had_no_say() -> None:
    found = _found({0.4: 0.1, 1.0: 0.3}, confirm={1.0: 0.15})
    chosen = choose(found, 0.6, HALVES["select"]).candidate
    assert chosen is not None
    assert chosen.selected is not None
    assert chosen.confirmed is not None
    assert chosen.selected.mean == pytest.approx(0.3, abs=0.02)
    assert chosen.confirmed.mean == pytest.approx(0.15, abs=0.02)
    assert chosen.confirmed.prompts == 8


def test_a_scale_that_fails_a_guard_is_passed_over_for_one_that_does_not() -> None:
    assert _chosen(_found({0.4: 0.1, 1.0: 0.3}, drift={1.0: 0.5})) == ("recommended", 0.4)


def test_none_names_the_guard_that_fails_everywhere() -> None:
    choice = choose(_found({0.4: 0.1, 1.0: 0.3}, drift={0.4: 0.3, 1.0: 0.5}), 0.6, HALVES["select"])
    assert choice.outcome == "none"
    assert "at scale 0.4 it changes images without the trigger (drift" in choice.reason
    assert "at scale 1 it changes" in choice.reason


def test_an_adapter_that_surely_gains_nothing_gets_none() -> None:
    choice = choose(_found({0.4: -0.01, 1.0: -0.02}), 0.6, HALVES["select"])
    assert choice == Choice("none", choice.reason)
    assert "no scale gains anything" in choice.reason


def test_a_gain_that_may_be_chance_is_inconclusive() -> None:
    # The held-out images are hardly more like one another than the base's are like them: a small gain would count.
    choice = choose(_found({0.4: 0.0, 1.0: 0.009}), 0.25, HALVES["select"])
    assert choice.outcome == "inconclusive"
    assert "no gain is significant" in choice.reason


def test_a_gain_that_does_not_show_in_the_other_half_is_inconclusive() -> None:
    choice = choose(_found({0.4: 0.1, 1.0: 0.1}, confirm={0.4: -0.05, 1.0: -0.05}), 0.6, HALVES["select"])
    assert choice.outcome == "inconclusive"
    assert "had no part in choosing it" in choice.reason


def test_p_values_are_adjusted_for_the_number_of_candidates() -> None:
    found = [each for each in _found({0.4: 0.3, 0.8: 0.3, 1.0: 0.3}) if each.adapter]
    assert [each.p for each in found] == pytest.approx([1 / 256] * 3)
    assert [each.p_holm for each in found] == pytest.approx([3 / 256] * 3)


def test_too_few_prompts_are_said_to_be_too_few() -> None:
    few = Protocol(trained=PROMPTS[:4], extractors=("pixel",))
    halves = split_prompts(few, "z")
    measured = Measured([], known(held_out=seen([1, 0, 0])), 0.6)
    for scale in (0.0, 1.0):
        values = {prompt.replace("{trigger}", "z"): 0.2 + scale / 2 for prompt in few.trained}
        under = (None if scale == 0 else "z", scale)
        measured.by_prompt[under] = {"similarity": values}
        measured.at_base[under] = {"similarity": dict.fromkeys(values, 0.2)}
    choice = choose(candidates(measured, dict.fromkeys(measured.by_prompt, (4, 4)), halves), 0.6, halves["select"])
    assert choice.outcome == "inconclusive"
    assert "2 prompts that choose" in choice.reason


def test_a_guard_that_fails_is_told_whatever_the_outcome() -> None:
    choice = choose(_found({0.4: 0.1, 1.0: 0.3}, drift={1.0: 0.5}), 0.6, HALVES["select"])
    assert choice.outcome == "recommended"
    assert "elsewhere a guard fails: at scale 1 it changes images without the trigger" in choice.reason


def test_guards_that_could_not_be_measured_have_not_passed_and_are_named() -> None:
    found = _found({1.0: 0.3})
    reason = choose(found, 0.6, HALVES["select"]).reason
    assert "not measured: clipped pixels, copies of training images" in reason
    without = [
        each.model_copy(
            update={"guards": tuple(guard.model_copy(update={"passed": None, "interval": None}) for guard in each.guards)}
        )
        for each in found
    ]
    choice = choose(without, 0.6, HALVES["select"])
    assert choice.outcome == "inconclusive"
    assert "without control prompts" in choice.reason


def test_a_rival_with_one_prompt_is_no_reason_to_fail() -> None:
    found = list(_found({0.4: 0.0, 1.0: 0.0}))
    assert found[2].selected is not None
    one = found[2].selected.model_copy(update={"mean": 0.9, "low": None, "high": None, "prompts": 1})
    found[2] = found[2].model_copy(update={"selected": one, "p": None, "p_holm": None})
    assert choose(found, 0.6, HALVES["select"]).outcome in ("none", "inconclusive")
