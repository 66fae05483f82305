"""Whether a text calls the concept by its trigger word: asked in this one way by preparation, training, evaluation and server."""

import re
from collections.abc import Sequence


def contains_trigger(text: str, trigger: str) -> bool:
    """Whether ``trigger`` stands in ``text`` as a word of its own, capitals or not: text encoders read lower case alone."""
    return bool(standing_alone([trigger]).search(text))


def standing_alone(words: Sequence[str]) -> re.Pattern[str]:
    """Finds any of ``words``, capitals or not, where it is no part of another: that of number n is the n-th group."""
    return re.compile("|".join(rf"(?<!\w)({re.escape(word)})(?!\w)" for word in words), re.IGNORECASE)
