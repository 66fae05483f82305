"""Prompts that change from step to step and prompts of several parts are parsed as in A1111."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zthumb.generation.grammar.schedule import find, parts_of
from zthumb.generation.prompts.base import Malformed


def _texts(text: str, steps: int = 4) -> list[str]:
    (part,) = parts_of(text, steps)
    return list(part.texts)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a [red:green:0.5] star", ["a red star"] * 2 + ["a green star"] * 2),
        ("a [red:green:3] star", ["a red star"] * 3 + ["a green star"]),
        ("a [crown:0.25] x", ["a  x"] + ["a crown x"] * 3),
        ("a [crown::0.25] x", ["a crown x"] + ["a  x"] * 3),
        ("a [red:green:0] star", ["a green star"] * 4),
        ("a [red:green:9] star", ["a red star"] * 4),
        ("[a|b|c]", ["a", "b", "c", "a"]),
        ("[a|]", ["a", "", "a", ""]),
        ("a [(red:1.2):[b|c]:0.5] x", ["a (red:1.2) x"] * 2 + ["a b x", "a c x"]),
        ("a [less] b", ["a [less] b"] * 4),
        ("[a:b] c", ["[a:b] c"] * 4),
        (r"a \[red:green:0.5\]", [r"a \[red:green:0.5\]"] * 4),
        ("a [b:0.5", ["a [b:0.5"] * 4),
        ("((a [red:green:0.5] b", ["((a red b"] * 2 + ["((a green b"] * 2),
    ],
)
def test_text_at_each_step(text: str, expected: list[str]) -> None:
    assert _texts(text) == expected


def test_each_part_has_its_own_weight() -> None:
    parts = parts_of("a star :1.5 AND a [red|blue] circle AND x:-0.25", 2)

    assert [(part.weight, part.texts) for part in parts] == [
        (1.5, ("a star", "a star")),
        (1.0, ("a red circle", "a blue circle")),
        (-0.25, ("x", "x")),
    ]


def test_a_word_that_contains_and_is_plain_text() -> None:
    assert find("a SANDY beach (red:1.2) [less] 12:30") is None
    with pytest.raises(Malformed, match="more than 8 parts"):
        parts_of(" AND ".join("abcdefghi"), 2)


@given(st.text(alphabet="ab ()[]:|.\\,19AND", max_size=40), st.integers(1, 6))
def test_any_text_is_parsed_or_refused(text: str, steps: int) -> None:
    try:
        parts = parts_of(text, steps)
    except Malformed:
        return
    assert all(len(part.texts) == steps for part in parts)
    # Resolved texts contain nothing that changes any more.
    assert all(find(resolved) is None or "AND" in resolved for part in parts for resolved in part.texts)


def test_nested_brackets_are_resolved_at_each_step() -> None:
    (part,) = parts_of("a [[b|c] d:e:3] [:f:0.5]", 6)

    assert part.texts == ("a b d ", "a c d ", "a b d ", "a e f", "a e f", "a e f")


@pytest.mark.parametrize(("text", "position"), [("a AND b :100", 10), ("SANDY" + " AND x" * 8, 7), ("a AND  b " + "[" * 51, 60)])
def test_limits_on_weight_parts_and_nesting_are_errors_with_a_position(text: str, position: int) -> None:
    with pytest.raises(Malformed) as error:
        parts_of(text, 2)
    assert error.value.position == position
