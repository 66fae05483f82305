import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import CLIPTokenizer

from miniature import captions, tokenizer
from miniature.training_images import draw_example
from miniature.world import COLOURS, SHAPES


@pytest.fixture(scope="module")
def built() -> CLIPTokenizer:
    return tokenizer.build(0)


def test_each_word_of_the_world_is_one_token(built: CLIPTokenizer) -> None:
    for word in [*COLOURS, *SHAPES, "photo", "drawing", "background", "left", "small", "striped"]:
        assert len(built(word).input_ids) == 3, word


def test_a_trigger_word_is_a_few_tokens(built: CLIPTokenizer) -> None:
    tokens = built("zbadge").input_ids[1:-1]
    assert 2 <= len(tokens) <= 6


@given(st.text(max_size=60))
def test_any_text_in_any_language_is_tokenized_within_the_vocabulary(built: CLIPTokenizer, text: str) -> None:
    tokens = built(text).input_ids
    assert tokens[0] == built.bos_token_id
    assert tokens[-1] == built.eos_token_id
    assert max(tokens) < len(built)


@given(st.text(alphabet=st.characters(categories=("Ll", "Lo"), max_codepoint=0x9FFF), min_size=1, max_size=20))
def test_no_letter_of_a_word_is_lost(built: CLIPTokenizer, word: str) -> None:
    decoded = built.decode(built(word, add_special_tokens=False).input_ids)
    assert "".join(decoded.split()) == built.backend_tokenizer.normalizer.normalize_str(word)


def test_a_caption_fits_the_context(built: CLIPTokenizer) -> None:
    assert all(
        len(built(captions.full_caption(draw_example(0, index).scene)).input_ids) <= tokenizer.MAX_LENGTH for index in range(200)
    )


def test_a_rebuilt_and_a_saved_tokenizer_are_the_same(built: CLIPTokenizer, tmp_path: Path) -> None:
    assert tokenizer.build(0).get_vocab() == built.get_vocab()
    built("a red star", padding="max_length", max_length=tokenizer.MAX_LENGTH, truncation=True)
    tokenizer.save(built, tmp_path)
    assert json.loads((tmp_path / "tokenizer.json").read_text())["padding"] is None
    loaded = CLIPTokenizer.from_pretrained(tmp_path)
    sentence = "a photo of a red zbadge, 日本語 🎈"
    assert loaded(sentence).input_ids == built(sentence).input_ids
    assert (tmp_path / "vocab.json").exists()
    assert (tmp_path / "merges.txt").exists()
