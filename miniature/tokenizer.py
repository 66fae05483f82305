"""A byte-level BPE tokenizer with the world's own vocabulary, in the layout of CLIP's.

Every byte is a token of its own, so that any text in any language has tokens; the words of the world are one token each. The
merges are learned here and not by the tokenizers library, whose training breaks ties differently from run to run.
"""

import itertools
import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tokenizers import pre_tokenizers
from transformers import CLIPTokenizer

from foundation.seeds import derive
from miniature.captions import made_up_word, vocabulary

LENGTH = 77
MERGES = 700
_KNOWN, _MADE_UP = 1000, 2500
"""How often each word of the world is counted, and how many made-up words are counted once."""

_START, _END = "<|startoftext|>", "<|endoftext|>"
_WORD_END = "</w>"

Merge = tuple[str, str]


def build(seed: int) -> CLIPTokenizer:
    """The tokenizer: 256 bytes, the same 256 at the end of a word, the learned merges, start and end of text."""
    merges = _learn_merges(_word_counts(_corpus(seed)))
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*alphabet, *(letter + _WORD_END for letter in alphabet), *("".join(pair) for pair in merges)]
    return _tokenizer([*tokens, _START, _END], merges)


def save(tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Write the tokenizer with ``vocab.json`` and ``merges.txt`` beside it, for readers that know only those."""
    # What it was last called with is no part of it.
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.save_pretrained(folder)
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    (folder / "vocab.json").write_text(json.dumps(model["vocab"], ensure_ascii=False) + "\n", encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in model["merges"])]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _tokenizer(tokens: list[str], merges: list[Merge]) -> CLIPTokenizer:
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=LENGTH)


def _corpus(seed: int) -> Iterator[tuple[str, int]]:
    """Words and how often each is counted: those of the world evenly, whatever share of the captions they have.

    Learned from the captions themselves, the merges would change with every share by which captions leave words out, and a text
    encoder would find all its words renumbered.
    """
    for word in vocabulary():
        yield word, _KNOWN
    # Syllables become tokens too, so that a new word is a handful of tokens and not a spelling.
    rng = random.Random(derive(seed, "tokenizer", "made up"))
    for _ in range(_MADE_UP):
        yield made_up_word(rng), 1


def _word_counts(corpus: Iterator[tuple[str, int]]) -> Counter[tuple[str, ...]]:
    """How often each word is counted, as the letters it starts out from."""
    splitter = _tokenizer([_START, _END], []).backend_tokenizer
    counts: Counter[tuple[str, ...]] = Counter()
    for text, times in corpus:
        for word, _ in splitter.pre_tokenizer.pre_tokenize_str(splitter.normalizer.normalize_str(text)):
            counts[(*word[:-1], word[-1] + _WORD_END)] += times
    return counts


def _learn_merges(counts: Counter[tuple[str, ...]]) -> list[Merge]:
    """Byte-pair encoding (arXiv 1508.07909): join the most frequent pair, ties by the alphabet, ``MERGES`` times."""
    merges: list[Merge] = []
    words = dict(counts)
    while len(merges) < MERGES:
        pairs: Counter[Merge] = Counter()
        for word, count in words.items():
            for pair in itertools.pairwise(word):
                pairs[pair] += count
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        words = {_joined(word, best): count for word, count in words.items()}
    return merges


def _joined(word: tuple[str, ...], pair: Merge) -> tuple[str, ...]:
    joined: list[str] = []
    for part in word:
        if joined and (joined[-1], part) == pair:
            joined[-1] += part
        else:
            joined.append(part)
    return tuple(joined)
