"""Tokenizers whose tokens are bytes, for bases with random weights: no word means anything to those."""

from __future__ import annotations

from typing import Any

_CLIP_LENGTH, _T5_LENGTH = 77, 512
_CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n"
)
_MISTRAL_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% set text = message.content[0].text %}"
    "{% if message.role == 'system' %}[SYSTEM_PROMPT]{{ text }}[/SYSTEM_PROMPT]{% else %}[INST]{{ text }}[/INST]{% endif %}"
    "{% endfor %}"
)


def build(kind: str) -> Any:
    """Return a tokenizer of the class called ``kind`` in transformers; ``ValueError`` for one that no family has.

    That of a processor, which is for images too, is its tokenizer alone.
    """
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
    if kind == "PixtralProcessor":
        marks = ["[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"]
        vocab = {token: index for index, token in enumerate(["<unk>", "<s>", "</s>", "<pad>", *marks, *symbols])}
        # Mistral's tokens are byte-level BPE as Qwen's are.
        return Qwen2Tokenizer(
            vocab=vocab,
            merges=[],
            unk_token="<unk>",
            bos_token="<s>",
            eos_token="</s>",
            pad_token="<pad>",
            additional_special_tokens=marks,
            chat_template=_MISTRAL_TEMPLATE,
        )
    raise ValueError(f"{kind}: no tokenizer of a model family")
