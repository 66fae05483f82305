from pathlib import Path

import pytest

from evaluation.protocol import MOST_AT_ONCE, Protocol, check_trigger_free, plan, read_protocol
from foundation.errors import BadInput
from tests.conftest import ROOT

SMALL = Protocol(trained=("a {trigger}", "the {trigger}"), novel=("a {trigger} at sea",), control=("a cat",), seeds=(1, 2, 7))


def _write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "prompts.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", sorted((ROOT / "evaluation" / "prompts").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_protocol_has_enough_prompts_to_show_something(path: Path) -> None:
    protocol = read_protocol(path)
    assert protocol.scales == (0.0, 0.4, 0.8, 1.0)
    assert len(protocol.seeds) >= 4
    # Seven in each half: with fewer a gain at three scales cannot be significant.
    assert len(protocol.trained) + len(protocol.novel) >= 14
    assert len(protocol.control) >= 7
    check_trigger_free(protocol, "zbadge")


def test_the_base_is_asked_once_and_every_adapter_at_every_other_scale() -> None:
    asks = plan(SMALL, "z", ["one", "two"]).asks["sweep"]
    samples = [sample for ask in asks for sample in ask.samples]
    assert len(samples) == len(set(samples)) == 4 * 3 * (1 + 2 * 3)
    assert {sample.lora_scale for sample in samples if sample.adapter is None} == {0.0}
    assert {sample.lora_scale for sample in samples if sample.adapter} == {0.4, 0.8, 1.0}


def test_a_request_holds_consecutive_seeds_and_not_too_many() -> None:
    assert {tuple(sample.seed for sample in ask.samples) for ask in plan(SMALL, "z", ["a"]).asks["sweep"]} == {(1, 2), (7,)}
    many = SMALL.model_copy(update={"seeds": tuple(range(20))})
    assert max(len(ask.samples) for ask in plan(many, "z", ["a"]).asks["sweep"]) == MOST_AT_ONCE


def test_scales_are_asked_in_a_shuffled_order_that_is_always_the_same() -> None:
    first, again = (plan(SMALL, "z", ["a"]) for _ in range(2))
    assert first == again
    order = [ask.first for ask in first.asks["sweep"]]
    assert order != sorted(order, key=list(first.samples).index)


def test_zero_is_asked_before_anything_counts_and_again_after_the_strongest_at_the_very_end() -> None:
    asks = plan(SMALL, "z", ["a"]).asks
    assert list(asks) == ["start", "sweep", "end"]
    assert {(ask.first.adapter, ask.first.lora_scale) for ask in asks["start"]} == {("a", 0.0)}
    end = [(ask.first.adapter, ask.first.lora_scale) for ask in asks["end"]]
    assert {("a", 1.0), (None, 0.0), ("a", 0.0)} == set(end)
    assert max(place for place, under in enumerate(end) if under == ("a", 1.0)) < end.index((None, 0.0))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("trained: [a cat]\n", "does not contain {trigger}"),
        ("trained: ['{trigger}']\nnovel: [a cat]\n", "does not contain {trigger}"),
        ("trained: ['{trigger}']\nscales: [0.5, 1]\n", "scale 0, the base, is missing"),
        ("trained: ['{trigger}']\nscales: [-1, 0]\n", "scales below 0"),
        ("trained: ['{trigger}', '{trigger}']\n", "stands there twice"),
        ("trained: ['a {trigger}']\nnovel: ['A  {trigger}']\n", "stands there twice"),
        ("trained: ['{trigger}']\nscales: [0, 0]\n", "scale 0 alone"),
        ("trained: ['{trigger}']\nscales: [0, .nan]\n", "finite"),
        ("trained: ['{trigger}']\nseed: [1]\n", "Did you mean 'seeds'"),
        ("[1, 2", "not valid YAML"),
    ],
)
def test_a_faulty_prompts_file_is_named_with_its_fault(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(BadInput) as error:
        read_protocol(_write(tmp_path, text))
    assert named in str(error.value)
    assert "prompts.yaml" in str(error.value)


def test_a_control_with_the_trigger_in_it_is_refused(tmp_path: Path) -> None:
    protocol = read_protocol(_write(tmp_path, "trained: ['{trigger}']\ncontrol: [an old Fisherman]\n"))
    with pytest.raises(BadInput, match="controls must be free of it"):
        check_trigger_free(protocol, "fisherman")
    # Part of a word is another word.
    check_trigger_free(protocol, "man")
