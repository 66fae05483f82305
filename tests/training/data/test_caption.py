"""The caption in a file reaches the model as the user meant it, and mistakes are reported."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.errors import BadInput
from training.data.caption import complete_caption, is_tag_list

CAPTION_FILE = Path("raw/a.txt")


def _complete(caption: str, template: str = "{caption}", **presets: str) -> str:
    return complete_caption(caption, CAPTION_FILE, template, "zbadge", presets)


def test_a_preset_is_replaced_by_its_text() -> None:
    assert _complete("a zbadge, [studio]", studio="grey ground, soft light") == "a zbadge, grey ground, soft light"


def test_the_error_for_an_unknown_preset_suggests_the_nearest_one_or_says_where_to_define_it() -> None:
    with pytest.raises(BadInput, match=r"a\.txt: no preset is called \[studoi\]\. Did you mean 'studio'"):
        _complete("a zbadge [studoi]", studio="x")
    with pytest.raises(BadInput, match=r"Define it under presets: in concept\.yaml, or leave the brackets out\."):
        _complete("a zbadge [studio]")


@pytest.mark.parametrize("placeholder", ["[trigger]", "[name]"])
def test_the_placeholders_of_ai_toolkit_are_the_trigger_unless_a_preset_has_their_name(placeholder: str) -> None:
    assert _complete(f"a photo of a {placeholder}") == "a photo of a zbadge"
    assert _complete(f"a {placeholder}", **{placeholder.strip("[]"): "cat"}) == "a cat"


def test_tags_are_tidied_and_a_sentence_stays_unchanged() -> None:
    assert _complete("zbadge,red,, red , blue ground,") == "zbadge, red, blue ground"
    sentence = "A red zbadge, seen from the left in the evening, on a blue ground, on a blue ground."
    assert _complete(sentence) == sentence


def test_the_template_is_put_around_the_caption() -> None:
    assert _complete("on grass", "a photo of {trigger}, {caption}") == "a photo of zbadge, on grass"


@given(st.text())
def test_any_text_without_brackets_keeps_all_its_words(text: str) -> None:
    caption = " ".join(text.replace("[", "").split())

    completed = _complete(caption)

    assert set(completed.replace(",", " ").split()) == set(caption.replace(",", " ").split())
    assert not is_tag_list(caption) or _complete(completed) == completed
