"""A1111's syntax of weights, with balanced and unbalanced brackets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zthumb.generation.grammar.emphasis import parse
from zthumb.generation.prompts.base import Malformed


def _parsed(text: str) -> list[list[tuple[str, float]]]:
    return [[(fragment.text, round(fragment.weight, 6)) for fragment in section] for section in parse(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a red star", [[("a red star", 1)]]),
        ("a (red) star", [[("a ", 1), ("red", 1.1), (" star", 1)]]),
        ("a ((red)) [star]", [[("a ", 1), ("red", 1.21), (" ", 1), ("star", 0.909091)]]),
        ("(a (red:2) star:0.5)", [[("a ", 0.5), ("red", 1), (" star", 0.5)]]),
        (r"a \(red\) star", [[("a (red) star", 1)]]),
        (r"a \red", [[(r"a \red", 1)]]),
        ("(time: noon)", [[("time: noon", 1.1)]]),
        ("one BREAK two BREAK", [[("one ", 1)], [(" two ", 1)], []]),
        ("BREAKfast", [[("BREAKfast", 1)]]),
        ("", [[]]),
        # What A1111 accepts although it is not balanced.
        ("a red star, smile :)", [[("a red star, smile :)", 1)]]),
        ("((masterpiece), best", [[("masterpiece", 1.21), (", best", 1.1)]]),
        ("a red star)), sharp", [[("a red star)), sharp", 1)]]),
        ("a [red) star", [[("a ", 1), ("red) star", 0.909091)]]),
        ("a (red:1.x) star", [[("a ", 1), ("red:1.x", 1.1), (" star", 1)]]),
        ("a (red:-0.5) star", [[("a ", 1), ("red", -0.5), (" star", 1)]]),
        ("(a star BREAK blue:1.2)", [[("a star ", 1.2)], [(" blue", 1.2)]]),
        ("red:1.2)", [[("red:1.2)", 1)]]),
    ],
)
def test_weights_of_fragments(text: str, expected: list[list[tuple[str, float]]]) -> None:
    assert _parsed(text) == expected


@pytest.mark.parametrize(
    ("text", "position", "reason"),
    [
        ("a (red:11) star", 8, "-10 to 10"),
        ("(12:30)", 5, "-10 to 10"),
        ("(a:1.2.3)", 4, "not a weight"),
        ("a [red:green:0.5]", 3, "changes from step to step"),
        ("a AND b", 3, "divides the prompt"),
    ],
)
def test_an_error_names_its_position(text: str, position: int, reason: str) -> None:
    with pytest.raises(Malformed, match=reason) as error:
        parse(text)
    assert error.value.position == position


@given(st.text(alphabet=r"ab ()[]:.\,19BREAK", max_size=60))
def test_any_text_is_parsed_or_refused_at_one_of_its_characters(text: str) -> None:
    position = _error_position(text)
    assert position is None or 1 <= position <= len(text)


def _error_position(text: str) -> int | None:
    try:
        parse(text)
    except Malformed as error:
        return error.position
    return None


@given(st.text(alphabet="abc ,.:'", max_size=60))
def test_a_text_without_marks_is_unchanged(text: str) -> None:
    assert "".join(fragment for section in _parsed(text) for fragment, _ in section) == text
