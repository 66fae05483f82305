"""The protocol of a prompts file, and the plan of requests made from it."""

from pathlib import Path

import pytest

from evaluation.protocol.plan import MAX_BATCH_SIZE, Protocol, check_trigger_free, make_plan, read_protocol
from foundation.errors import BadInput
from tests.conftest import ROOT

SMALL = Protocol(trained=("a {trigger}", "the {trigger}"), novel=("a {trigger} at sea",), control=("a cat",), seeds=(1, 2, 7))


def _write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "prompts.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", sorted((ROOT / "evaluation" / "prompts").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_protocol_has_enough_prompts_for_a_significant_gain(path: Path) -> None:
    protocol = read_protocol(path)
    assert protocol.scales == (0.0, 0.4, 0.8, 1.0)
    assert len(protocol.seeds) >= 4
    # Seven in each half: with fewer a gain at three scales cannot be significant.
    assert len(protocol.trained) + len(protocol.novel) >= 14
    assert len(protocol.control) >= 7
    check_trigger_free(protocol, "zbadge")


def test_the_base_is_requested_once_and_every_adapter_at_every_other_scale() -> None:
    request_specs = make_plan(SMALL, "z", ["one", "two"]).request_specs["sweep"]
    samples = [sample for request_spec in request_specs for sample in request_spec.samples]
    assert len(samples) == len(set(samples)) == 4 * 3 * (1 + 2 * 3)
    assert {sample.lora_scale for sample in samples if sample.adapter is None} == {0.0}
    assert {sample.lora_scale for sample in samples if sample.adapter} == {0.4, 0.8, 1.0}


def test_a_request_holds_consecutive_seeds_and_not_too_many() -> None:
    request_specs = make_plan(SMALL, "z", ["a"]).request_specs["sweep"]
    assert {tuple(sample.seed for sample in request_spec.samples) for request_spec in request_specs} == {(1, 2), (7,)}
    many = SMALL.model_copy(update={"seeds": tuple(range(20))})
    request_specs = make_plan(many, "z", ["a"]).request_specs["sweep"]
    assert max(len(request_spec.samples) for request_spec in request_specs) == MAX_BATCH_SIZE


def test_scales_are_requested_in_a_shuffled_order_that_is_always_the_same() -> None:
    first, second = (make_plan(SMALL, "z", ["a"]) for _ in range(2))
    assert first == second
    order = [request_spec.first for request_spec in first.request_specs["sweep"]]
    assert order != sorted(order, key=list(first.samples).index)


def test_scale_zero_is_requested_before_any_adapter_is_applied_and_again_after_the_strongest_scale_at_the_end() -> None:
    request_specs = make_plan(SMALL, "z", ["a"]).request_specs
    assert list(request_specs) == ["start", "sweep", "end"]
    start = {(request_spec.first.adapter, request_spec.first.lora_scale) for request_spec in request_specs["start"]}
    assert start == {("a", 0.0)}
    end = [(request_spec.first.adapter, request_spec.first.lora_scale) for request_spec in request_specs["end"]]
    assert {("a", 1.0), (None, 0.0), ("a", 0.0)} == set(end)
    last_strongest = max(index for index, adapter_scale in enumerate(end) if adapter_scale == ("a", 1.0))
    assert last_strongest < end.index((None, 0.0))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trained: [a cat]\n", "does not contain {trigger}"),
        ("trained: ['{trigger}']\nnovel: [a cat]\n", "does not contain {trigger}"),
        ("trained: ['{trigger}']\nscales: [0.5, 1]\n", "scale 0, the base, is missing"),
        ("trained: ['{trigger}']\nscales: [-1, 0]\n", "scales below 0"),
        ("trained: ['{trigger}', '{trigger}']\n", "is given twice"),
        ("trained: ['a {trigger}']\nnovel: ['A  {trigger}']\n", "is given twice"),
        ("trained: ['{trigger}']\nscales: [0, 0]\n", "scale 0 alone"),
        ("trained: ['{trigger}']\nscales: [0, .nan]\n", "finite"),
        ("trained: ['{trigger}']\nseed: [1]\n", "Did you mean 'seeds'"),
        ("[1, 2", "not valid YAML"),
    ],
)
def test_a_faulty_prompts_file_is_named_with_its_fault(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BadInput) as error:
        read_protocol(_write(tmp_path, text))
    assert message in str(error.value)
    assert "prompts.yaml" in str(error.value)


def test_a_control_prompt_that_contains_the_trigger_is_refused(tmp_path: Path) -> None:
    protocol = read_protocol(_write(tmp_path, "trained: ['{trigger}']\ncontrol: [an old Fisherman]\n"))
    with pytest.raises(BadInput, match="contains the trigger 'fisherman'"):
        check_trigger_free(protocol, "fisherman")
    # A part of a word is not the trigger.
    check_trigger_free(protocol, "man")
