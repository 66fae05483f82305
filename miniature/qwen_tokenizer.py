"""A byte-level BPE tokenizer in the layout of Qwen's, whose chat template Z-Image and Qwen-Image put prompts in.

Every word of the world is one token, at the start of a text and after a space; syllables are tokens for every other word.
"""

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache

from tokenizers import pre_tokenizers
from transformers import Qwen2Tokenizer

from foundation.seeds import derive
from miniature.captions import made_up_word
from miniature.tokenizer import Merge, learn_merges

MAX_LENGTH = 64
"""Tokens of a prompt in its template; longer than every caption of the world."""

_MERGES_FOR_SYLLABLES = 500
_WORLD_WORD_COUNT, _MADE_UP_WORDS = 1000, 2500
_END_OF_TEXT, _MESSAGE_START, _MESSAGE_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
_ROLES = ("system", "user", "assistant")
# The words of Qwen-Image's template, of whose tokens its pipeline drops a fixed number.
_INSTRUCTION = (
    "Describe the image by detailing the color shape size texture quantity text spatial relationships of objects and background"
)

# The part of Qwen3's template that a single message needs.
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)


def build(seed: int, words: Iterable[str]) -> Qwen2Tokenizer:
    """Build the tokenizer: 256 bytes, each of ``words``, syllables, and the marks of messages."""
    merges = list(_learn(seed, tuple(words)))
    pieces = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *("".join(pair) for pair in merges), _END_OF_TEXT]
    return Qwen2Tokenizer(
        vocab={piece: index for index, piece in enumerate(dict.fromkeys(pieces))},
        merges=merges,
        eos_token=_MESSAGE_END,
        additional_special_tokens=[_MESSAGE_START, _MESSAGE_END],
        chat_template=CHAT_TEMPLATE,
        model_max_length=MAX_LENGTH,
        padding_side="right",
    )


@lru_cache(maxsize=4)
def _learn(seed: int, words: tuple[str, ...]) -> tuple[Merge, ...]:
    known = [form for word in [*words, *_ROLES, *_INSTRUCTION.split()] for form in _forms(word)]
    counts = Counter({symbols: _WORLD_WORD_COUNT for text in known for symbols in _symbols(text)})
    merges = learn_merges(counts)
    rng = random.Random(derive(seed, "qwen tokenizer", "made up"))
    made_up = Counter(symbols for _ in range(_MADE_UP_WORDS) for symbols in _symbols(f" {made_up_word(rng)}"))
    return (*merges, *learn_merges(made_up, _MERGES_FOR_SYLLABLES, after=merges))


def _forms(word: str) -> Iterator[str]:
    for form in (word, word.capitalize()):
        yield form
        yield f" {form}"


def _symbols(text: str) -> Iterator[tuple[str, ...]]:
    """Yield the bytes of each piece that the tokenizer splits ``text`` into, from which its merges start."""
    splitter = Qwen2Tokenizer().backend_tokenizer
    for piece, _ in splitter.pre_tokenizer.pre_tokenize_str(splitter.normalizer.normalize_str(text)):
        yield tuple(piece)
