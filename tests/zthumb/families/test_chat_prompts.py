"""Prompts inside the templates of language models: what is read of a long one."""

import pytest
from transformers import Qwen2Tokenizer

from miniature import qwen_tokenizer
from miniature.captions import vocabulary
from zthumb.families import qwen_image, z_image
from zthumb.families.shared.chat_prompts import cut


@pytest.fixture(scope="module")
def tokenizer() -> Qwen2Tokenizer:
    return qwen_tokenizer.build(0, vocabulary())


def test_a_prompt_that_fits_is_read_whole(tokenizer: Qwen2Tokenizer) -> None:
    assert z_image.TEMPLATE.cut(tokenizer, "a red star", 64) == ""


def test_the_end_of_a_prompt_that_does_not_fit_is_named(tokenizer: Qwen2Tokenizer) -> None:
    # Three tokens of the template come first
    assert z_image.TEMPLATE.cut(tokenizer, "a red star at the left", 6) == "at the left"


def test_only_words_of_the_prompt_are_named(tokenizer: Qwen2Tokenizer) -> None:
    text = z_image.TEMPLATE.apply(tokenizer, "a red star")

    # Where the template alone is cut, nothing of the prompt is
    assert cut(tokenizer, text, "a red star", 7) == ""


def test_qwen_image_s_template_is_as_long_as_its_pipeline_takes_it_for(tokenizer: Qwen2Tokenizer) -> None:
    tokens = qwen_image.tokenize(tokenizer, ["star", "a red star"])

    assert [tokenizer.decode(row[qwen_image.DROPPED]) for row in tokens.input_ids] == ["star", "a"]
    assert tokens.attention_mask.sum(dim=1).tolist() == [34 + 6, 34 + 8]
