"""A Unigram tokenizer in T5's layout: one token for each word of the world, syllables and letters for every other word.

T5's vocabulary tells upper from lower case, and knows no script but the Latin one; so does this one.
"""

import string

from transformers import T5Tokenizer

from miniature.captions import SYLLABLES, vocabulary

MAX_LENGTH = 32
"""Tokens of a prompt, its end mark included; longer than every caption of the world."""

_MARK = "▁"  # stands before the first piece of a word
_SPECIAL = ("<pad>", "</s>", "<unk>")  # their ids are 0, 1 and 2 in every T5
_WORD_SCORE, _SYLLABLE_SCORE, _LETTER_SCORE = -3.0, -6.0, -9.0
"""Logarithms of the pieces' probabilities, up to a constant: a word is never split, and few long pieces beat many short ones."""


def build() -> T5Tokenizer:
    """Build the tokenizer."""
    letters = string.ascii_letters + string.digits + string.punctuation
    words = [_MARK + word for known in vocabulary() for word in (known, known.capitalize())]
    syllables = [prefix + syllable for syllable in SYLLABLES for prefix in ("", _MARK)]
    scores = [
        *((token, 0.0) for token in _SPECIAL),
        *((word, _WORD_SCORE) for word in words),
        *((syllable, _SYLLABLE_SCORE) for syllable in syllables),
        *((prefix + letter, _LETTER_SCORE) for letter in letters for prefix in ("", _MARK)),
        (_MARK, _LETTER_SCORE),
    ]
    # A word may be a letter too, as "a" is: its first score counts.
    return T5Tokenizer(vocab=list(dict(reversed(scores)).items())[::-1], extra_ids=0, model_max_length=MAX_LENGTH)
