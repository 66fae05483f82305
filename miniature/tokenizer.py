"""A byte-level BPE tokenizer with the world's own vocabulary, in the layout of CLIP's.

Every byte is a token, so that any text in any language can be tokenized; each word of the world is one token. The merges are
learned here and not by the tokenizers library, whose training breaks ties differently from run to run.
"""

import itertools
import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tokenizers import pre_tokenizers
from transformers import CLIPTokenizer

from foundation.seeds import derive
from miniature.captions import made_up_word, vocabulary

MAX_LENGTH = 77
MERGES = 700
_WORLD_WORD_COUNT, _MADE_UP_WORDS = 1000, 2500
"""The count of each word of the world, and the number of made-up words, which have a count of one."""

_START, _END = "<|startoftext|>", "<|endoftext|>"
_WORD_END = "</w>"

Merge = tuple[str, str]


def build(seed: int) -> CLIPTokenizer:
    """Build the tokenizer: 256 bytes, the same 256 at the end of a word, the learned merges, start and end of text."""
    merges = learn_merges(_word_counts(_corpus(seed)), MERGES)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*alphabet, *(symbol + _WORD_END for symbol in alphabet), *("".join(pair) for pair in merges)]
    return _tokenizer([*tokens, _START, _END], merges)


def save(tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Write the tokenizer, with ``vocab.json`` and ``merges.txt`` for programs that read only those."""
    # The padding and truncation of the last call would be saved too.
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.save_pretrained(folder)
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    (folder / "vocab.json").write_text(json.dumps(model["vocab"], ensure_ascii=False) + "\n", encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in model["merges"])]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _tokenizer(tokens: list[str], merges: list[Merge]) -> CLIPTokenizer:
    vocab = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=MAX_LENGTH)


def _corpus(seed: int) -> Iterator[tuple[str, int]]:
    """Yield words and their counts: equal for all words of the world, however often captions use them.

    If the merges were learned from the captions, they would change with every probability of omitting a word, and the token ids
    of all words would change for an already trained text encoder.
    """
    for word in vocabulary():
        yield word, _WORLD_WORD_COUNT
    # Syllables become tokens too, so that a new word is a handful of tokens and not one token per letter.
    rng = random.Random(derive(seed, "tokenizer", "made up"))
    for _ in range(_MADE_UP_WORDS):
        yield made_up_word(rng), 1


def _word_counts(corpus: Iterator[tuple[str, int]]) -> Counter[tuple[str, ...]]:
    """Return the count of each word, as the tuple of symbols from which its merges start."""
    splitter = _tokenizer([_START, _END], []).backend_tokenizer
    counts: Counter[tuple[str, ...]] = Counter()
    for text, count in corpus:
        for word, _ in splitter.pre_tokenizer.pre_tokenize_str(splitter.normalizer.normalize_str(text)):
            counts[(*word[:-1], word[-1] + _WORD_END)] += count
    return counts


def learn_merges(counts: Mapping[tuple[str, ...], int], most: int | None = None, after: Sequence[Merge] = ()) -> list[Merge]:
    """Learn byte-pair merges (arXiv 1508.07909): merge the most frequent pair, ties alphabetically, ``most`` times.

    Without ``most`` until every word is one symbol. The merges in ``after`` come first, and are not returned.
    """
    words = dict(counts)
    for known in after:
        words = _merged(words, known)
    merges: list[Merge] = []
    while most is None or len(merges) < most:
        pairs: Counter[Merge] = Counter()
        for word, count in words.items():
            for pair in itertools.pairwise(word):
                pairs[pair] += count
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        words = _merged(words, best)
    return merges


def _merged(words: Mapping[tuple[str, ...], int], pair: Merge) -> dict[tuple[str, ...], int]:
    merged: Counter[tuple[str, ...]] = Counter()
    for word, count in words.items():
        merged[_merge_pair(word, pair) if pair[0] in word else word] += count
    return merged


def _merge_pair(word: tuple[str, ...], pair: Merge) -> tuple[str, ...]:
    symbols: list[str] = []
    for symbol in word:
        if symbols and (symbols[-1], symbol) == pair:
            symbols[-1] += symbol
        else:
            symbols.append(symbol)
    return tuple(symbols)
