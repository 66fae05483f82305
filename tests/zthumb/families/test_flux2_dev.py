"""Prompts of FLUX.2 dev as messages to Mistral: what its pipeline removes, and what it does not read."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers.pipelines.flux2.pipeline_flux2 import SYSTEM_MESSAGE, format_input

from zthumb.families.flux2_dev import FAMILY
from zthumb.families.shared import dummy_tokenizers


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return dummy_tokenizers.build("PixtralProcessor")


def test_prompts_are_tokenized_as_by_diffusers_pipeline(tokenizer: Any) -> None:
    prompts = ["a red star", "a [IMG] blue ring"]
    options = {"padding": "max_length", "truncation": True, "max_length": 512, "return_dict": True, "return_tensors": "pt"}
    expected = tokenizer.apply_chat_template(format_input(prompts, SYSTEM_MESSAGE), add_generation_prompt=False, **options)

    tokens = FAMILY.tokenize(tokenizer, prompts)

    assert torch.equal(tokens.input_ids, expected.input_ids)
    assert torch.equal(tokens.attention_mask, expected.attention_mask)


def test_the_mark_of_an_image_is_not_part_of_a_prompt(tokenizer: Any) -> None:
    marked, plain = FAMILY.tokenize(tokenizer, ["a[IMG] star", "a star"]).input_ids

    assert torch.equal(marked, plain)


def test_the_end_of_a_long_prompt_is_named_as_not_read(tokenizer: Any) -> None:
    # Given a tokenizer whose tokens are bytes
    before = len(tokenizer(FAMILY.in_template(tokenizer, ""), add_special_tokens=False).input_ids) - 1
    prompt = "x" * (512 - before) + "[IMG] and a star"

    cut = FAMILY.truncated_prompt(SimpleNamespace(tokenizer=tokenizer), prompt)

    assert cut == "and a star"
