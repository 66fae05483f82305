"""Tokenizers whose tokens are bytes, for bases with random weights: no word means anything to those."""

from __future__ import annotations

from typing import Any

_CLIP_LENGTH, _T5_LENGTH = 77, 512
_CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n"
)


def build(kind: str) -> Any:
    """Return a tokenizer of the class called ``kind`` in transformers; ``ValueError`` for one that no family has."""
    from transformers import CLIPTokenizer, Qwen2Tokenizer, T5Tokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    symbols = sorted(bytes_to_unicode().values())
    if kind.startswith("CLIPTokenizer"):
        tokens = ["!", *(symbol for symbol in symbols if symbol != "!"), *(f"{symbol}</w>" for symbol in symbols)]
        vocab = {token: index for index, token in enumerate([*tokens, "<|startoftext|>", "<|endoftext|>"])}
        return CLIPTokenizer(vocab=vocab, merges=[], model_max_length=_CLIP_LENGTH)
    if kind.startswith("T5Tokenizer"):
        scores = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((symbol, -1.0) for symbol in ["▁", *symbols])]
        return T5Tokenizer(vocab=scores, extra_ids=0, model_max_length=_T5_LENGTH)
    if kind.startswith("Qwen2Tokenizer"):
        marks = ["<|im_start|>", "<|im_end|>"]
        vocab = {token: index for index, token in enumerate([*symbols, "<|endoftext|>", *marks])}
        return Qwen2Tokenizer(vocab=vocab, merges=[], additional_special_tokens=marks, chat_template=_CHAT_TEMPLATE)
    raise ValueError(f"{kind}: no tokenizer of a model family")
