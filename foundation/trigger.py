"""Whether a text contains a trigger word: preparation, training, evaluation and the server all decide it here, in one way."""

import re
from collections.abc import Sequence


def contains_trigger(text: str, trigger: str) -> bool:
    """Return whether ``text`` contains ``trigger`` as a whole word, in any case: text encoders read lower case only."""
    return bool(whole_word_pattern([trigger]).search(text))


def whole_word_pattern(words: Sequence[str]) -> re.Pattern[str]:
    """Return a pattern that finds any of ``words`` as a whole word, in any case; group n matches word n, counted from 1."""
    return re.compile("|".join(rf"(?<!\w)({re.escape(word)})(?!\w)" for word in words), re.IGNORECASE)
