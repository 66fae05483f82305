"""Prompts as messages to a language model, which is the text encoder of Z-Image and FLUX.2 klein."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ChatTemplate:
    """How a prompt becomes a message of a user; the answer is begun, and thinking left to the model if ``enable_thinking``."""

    enable_thinking: bool

    def apply(self, tokenizer: Any, prompt: str) -> str:
        """Return ``prompt`` in the tokenizer's own template."""
        text: str = tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}],
            tokenize=False,
            add_generation_prompt=True,
            enable_thinking=self.enable_thinking,
        )
        return text

    def tokenize(self, tokenizer: Any, prompts: Sequence[str], length: int) -> Any:
        """Return ``input_ids`` and ``attention_mask`` (B, ``length``) of ``prompts``, cut and padded at their end."""
        texts = [self.apply(tokenizer, prompt) for prompt in prompts]
        return tokenizer(texts, padding="max_length", max_length=length, truncation=True, return_tensors="pt", verbose=False)

    def cut(self, tokenizer: Any, prompt: str, length: int) -> str:
        """Return the end of ``prompt`` that is not among the first ``length`` tokens; empty if it fits."""
        return cut(tokenizer, self.apply(tokenizer, prompt), prompt, length)


def cut(tokenizer: Any, text: str, prompt: str, length: int) -> str:
    """Return the end of the ``prompt`` in ``text`` that is not among its first ``length`` tokens; empty if it fits."""
    # A template has the special tokens already.
    offsets = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False, verbose=False)["offset_mapping"]
    if len(offsets) <= length:
        return ""
    end = text.rindex(prompt) + len(prompt)
    return text[offsets[length][0] : end].strip()
