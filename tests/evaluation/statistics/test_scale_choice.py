"""The rule that recommends a scale, on figures made by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.protocol.plan import Protocol
from evaluation.results import Candidate
from evaluation.statistics.measure import Measurements
from evaluation.statistics.scale_choice import Choice, build_candidates, choose, split_prompts
from tests.evaluation.image_features import features, reference_stats

PROMPTS = tuple(f"a {{trigger}} number {number}" for number in range(16))
PROTOCOL = Protocol(trained=PROMPTS[:8], novel=PROMPTS[8:], control=("a cat", "a dog", "a cow"), extractors=("pixel",))
HALVES = split_prompts(PROTOCOL, "z")
SCATTER = np.tile([-0.02, 0.02, -0.01, 0.01], 4)
CONTROLS = ("a cat", "a dog", "a cow")


def _candidates(
    gains: dict[float, float], drift: dict[float, float] | None = None, confirm: dict[float, float] | None = None
) -> tuple[Candidate, ...]:
    """Candidates at the scales of ``gains``, with these mean gains over a base of 0.2.

    ``drift``: scale → mean drift of the control prompts; ``confirm``: scale → another gain in the confirmation half.
    """
    stats = reference_stats(held_out=features([1, 0, 0]), control_distance=1.0, text_margin=None)
    measurements = Measurements([], stats, 0.6)
    prompts = [prompt.replace("{trigger}", "z") for prompt in PROMPTS]
    for scale, gain in {0.0: 0.0, **gains}.items():
        adapter_scale = (None if scale == 0 else "z", scale)
        values = {}
        for prompt, scatter in zip(prompts, SCATTER, strict=True):
            prompt_gain = (confirm or {}).get(scale, gain) if prompt in HALVES["confirm"] else gain
            values[prompt] = 0.2 + prompt_gain + (0 if scale == 0 else scatter)
        drifts = dict(zip(CONTROLS, np.array([0.0, 0.001, 0.002]) + (drift or {}).get(scale, 0.0), strict=True))
        base = {"similarity": dict.fromkeys(prompts, 0.2), "drift": dict.fromkeys(CONTROLS, 0.0)}
        measurements.by_prompt[adapter_scale] = {"similarity": values, "drift": drifts}
        measurements.base_by_prompt[adapter_scale] = base
        measurements.distances[adapter_scale] = dict.fromkeys(prompts, scale)
    return build_candidates(measurements, dict.fromkeys(measurements.by_prompt, (16, 16)), HALVES)


def _chosen(candidates: tuple[Candidate, ...]) -> tuple[str, float | None]:
    choice = choose(candidates, 0.6, HALVES["select"])
    return choice.outcome, choice.candidate.lora_scale if choice.candidate else None


def test_the_halves_split_each_stratum_evenly_and_share_no_prompt() -> None:
    assert {half: len(prompts) for half, prompts in HALVES.items()} == {"select": 8, "confirm": 8}
    assert not set(HALVES["select"]) & set(HALVES["confirm"])
    novel = {prompt.replace("{trigger}", "z") for prompt in PROTOCOL.novel}
    assert len(novel & set(HALVES["select"])) == 4


@given(st.permutations(PROMPTS[:8]), st.permutations(PROMPTS[8:]))
def test_the_halves_do_not_depend_on_the_order_of_the_prompts(trained: list[str], novel: list[str]) -> None:
    assert split_prompts(PROTOCOL.model_copy(update={"trained": tuple(trained), "novel": tuple(novel)}), "z") == HALVES


def test_the_smallest_scale_that_keeps_nearly_all_of_the_best_gain_is_recommended() -> None:
    assert _chosen(_candidates({0.4: 0.1, 0.8: 0.28, 1.0: 0.3})) == ("recommended", 0.8)
    assert _chosen(_candidates({0.4: 0.1, 0.8: 0.26, 1.0: 0.3})) == ("recommended", 1.0)


def test_a_smaller_scale_with_uncertain_gains_is_not_preferred() -> None:
    candidates = _candidates({0.8: 0.28, 1.0: 0.3})
    # The same gain on average, but scattered over the prompts: within one standard error it may have lost a fifth.
    values = candidates[1].by_prompt["similarity"]
    scattered = {prompt: values[prompt] + (0.1 if number % 2 else -0.1) for number, prompt in enumerate(HALVES["select"])}
    uncertain = candidates[1].model_copy(update={"by_prompt": {"similarity": values | scattered}})

    assert _chosen((candidates[0], uncertain, candidates[2])) == ("recommended", 1.0)


def test_a_scale_that_shares_too_few_prompts_with_the_best_is_not_chosen() -> None:
    base, smaller, best = _candidates({0.8: 0.3, 1.0: 0.3})
    values = smaller.by_prompt["similarity"]
    remaining = {prompt: value for prompt, value in values.items() if prompt not in HALVES["select"][1:]}
    smaller = smaller.model_copy(update={"by_prompt": {"similarity": remaining}})
    best = best.model_copy(update={"selected": best.selected and best.selected.model_copy(update={"mean": 0.31})})

    assert _chosen((base, smaller, best)) == ("recommended", 1.0)


def test_the_confirmed_gain_is_measured_on_the_confirmation_prompts() -> None:
    candidates = _candidates({0.4: 0.1, 1.0: 0.3}, confirm={1.0: 0.15})
    chosen = choose(candidates, 0.6, HALVES["select"]).candidate
    assert chosen is not None
    assert chosen.selected is not None
    assert chosen.confirmed is not None
    assert chosen.selected.mean == pytest.approx(0.3, abs=0.02)
    assert chosen.confirmed.mean == pytest.approx(0.15, abs=0.02)
    assert chosen.confirmed.prompts == 8


def test_a_scale_that_passes_every_guard_is_chosen_over_one_that_fails_a_guard() -> None:
    assert _chosen(_candidates({0.4: 0.1, 1.0: 0.3}, drift={1.0: 0.5})) == ("recommended", 0.4)


def test_if_every_scale_fails_a_guard_the_outcome_is_none_and_names_it() -> None:
    choice = choose(_candidates({0.4: 0.1, 1.0: 0.3}, drift={0.4: 0.3, 1.0: 0.5}), 0.6, HALVES["select"])
    assert choice.outcome == "none"
    assert "at scale 0.4 it changes images without the trigger (drift" in choice.reason
    assert "at scale 1 it changes" in choice.reason


def test_without_any_gain_the_outcome_is_none() -> None:
    choice = choose(_candidates({0.4: -0.01, 1.0: -0.02}), 0.6, HALVES["select"])
    assert choice == Choice("none", choice.reason)
    assert "no scale gains anything" in choice.reason


def test_a_gain_that_is_not_significant_is_inconclusive() -> None:
    # The gap is small: the base's images are almost as similar to the held-out images as those are to one another.
    choice = choose(_candidates({0.4: 0.0, 1.0: 0.009}), 0.25, HALVES["select"])
    assert choice.outcome == "inconclusive"
    assert "no gain is significant" in choice.reason


def test_a_gain_that_is_not_confirmed_by_the_other_half_is_inconclusive() -> None:
    choice = choose(_candidates({0.4: 0.1, 1.0: 0.1}, confirm={0.4: -0.05, 1.0: -0.05}), 0.6, HALVES["select"])
    assert choice.outcome == "inconclusive"
    assert "had no part in choosing it" in choice.reason


def test_p_values_are_adjusted_for_the_number_of_candidates() -> None:
    candidates = [candidate for candidate in _candidates({0.4: 0.3, 0.8: 0.3, 1.0: 0.3}) if candidate.adapter]
    assert [candidate.p for candidate in candidates] == pytest.approx([1 / 256] * 3)
    assert [candidate.p_holm for candidate in candidates] == pytest.approx([3 / 256] * 3)


def test_too_few_prompts_are_inconclusive_and_the_reason_says_so() -> None:
    few = Protocol(trained=PROMPTS[:4], extractors=("pixel",))
    halves = split_prompts(few, "z")
    measurements = Measurements([], reference_stats(held_out=features([1, 0, 0])), 0.6)
    for scale in (0.0, 1.0):
        values = {prompt.replace("{trigger}", "z"): 0.2 + scale / 2 for prompt in few.trained}
        adapter_scale = (None if scale == 0 else "z", scale)
        measurements.by_prompt[adapter_scale] = {"similarity": values}
        measurements.base_by_prompt[adapter_scale] = {"similarity": dict.fromkeys(values, 0.2)}
    candidates = build_candidates(measurements, dict.fromkeys(measurements.by_prompt, (4, 4)), halves)
    choice = choose(candidates, 0.6, halves["select"])
    assert choice.outcome == "inconclusive"
    assert "2 selection prompts are too few" in choice.reason


def test_a_failed_guard_is_named_whatever_the_outcome() -> None:
    choice = choose(_candidates({0.4: 0.1, 1.0: 0.3}, drift={1.0: 0.5}), 0.6, HALVES["select"])
    assert choice.outcome == "recommended"
    assert "failed guards: at scale 1 it changes images without the trigger" in choice.reason


def test_guards_that_could_not_be_measured_have_not_passed_and_are_named() -> None:
    candidates = _candidates({1.0: 0.3})
    reason = choose(candidates, 0.6, HALVES["select"]).reason
    assert "not measured: clipped pixels, copies of training images" in reason
    unmeasured = [
        candidate.model_copy(
            update={"guards": tuple(guard.model_copy(update={"passed": None, "interval": None}) for guard in candidate.guards)}
        )
        for candidate in candidates
    ]
    choice = choose(unmeasured, 0.6, HALVES["select"])
    assert choice.outcome == "inconclusive"
    assert "without control prompts" in choice.reason


def test_a_candidate_with_one_prompt_is_not_an_error() -> None:
    candidates = list(_candidates({0.4: 0.0, 1.0: 0.0}))
    assert candidates[2].selected is not None
    one_prompt = candidates[2].selected.model_copy(update={"mean": 0.9, "low": None, "high": None, "prompts": 1})
    candidates[2] = candidates[2].model_copy(update={"selected": one_prompt, "p": None, "p_holm": None})
    assert choose(candidates, 0.6, HALVES["select"]).outcome in ("none", "inconclusive")
