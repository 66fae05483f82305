"""``<lora:name:0.8>`` is an adapter and never part of the text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zthumb.generation.grammar.lora_tags import extract
from zthumb.generation.prompts.base import Malformed


@pytest.mark.parametrize(
    ("text", "expected_text", "adapters"),
    [
        ("a star <lora:tiny:0.8>", "a star", [("tiny", 0.8)]),
        ("<lora:tiny>a star", "a star", [("tiny", 1.0)]),
        ("a <lyco:My File.v2:-1> star", "a star", [("My File.v2", -1.0)]),
        ("a <LORA:x:.5>, <lora:y:2>", "a ,", [("x", 0.5), ("y", 2.0)]),
        ("a <lora:x:0.5:0.5> b", "a b", [("x", 0.5)]),
        ("a <lora:x:te=0.5:unet=0.5> b", "a b", [("x", 0.5)]),
        ("a < b and c > d", "a < b and c > d", []),
        ("two  blanks stay", "two  blanks stay", []),
    ],
)
def test_tags_become_adapters_with_weights(text: str, expected_text: str, adapters: list[tuple[str, float]]) -> None:
    remaining_text, tags = extract(text)

    assert (remaining_text, [(tag.name, tag.weight) for tag in tags]) == (expected_text, adapters)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a <hypernet:x:1>", "hypernetwork"),
        ("a <lora::1>", "names no adapter"),
        ("a <lora:x:strong>", "not a weight"),
        ("a <lora:x:0.5:1>", "several weights"),
        ("a <lora:x:1:lbw=OUTALL>", "'lbw'"),
        ("a <lora:x:unet=0.5>", "several weights"),
        ("a <lora:x:te=0>", "several weights"),
    ],
)
def test_an_unsupported_tag_is_an_error_with_its_position(text: str, reason: str) -> None:
    with pytest.raises(Malformed, match=reason) as error:
        extract(text)
    assert error.value.position == 3


@given(st.text(max_size=60))
def test_a_text_without_a_tag_is_unchanged(text: str) -> None:
    if "<" not in text:
        assert extract(text) == (text, ())
