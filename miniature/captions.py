"""Captions for scenes: several natural word orders, words omitted at random, and now and then a made-up word without meaning."""

import itertools
import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

from miniature.world import COLOURS, FILLS, MEDIA, SHAPES, STYLES, Scene

_POSITION_PHRASES = {
    "center": ("in the center", "in the middle", "centered"),
    "left": ("at the left", "on the left", "on the left side"),
    "right": ("at the right", "on the right", "on the right side"),
    "top": ("at the top", "near the top"),
    "bottom": ("at the bottom", "near the bottom"),
}
_SIZE_WORDS = {"small": ("small", "little"), "medium": ("medium", "medium-sized"), "large": ("large", "big")}
_SHAPE_NOUNS = {"ring": ("ring",), "cross": ("cross", "plus")}
_ANY_SHAPE = ("shape", "thing", "object")
_ANY_MEDIUM = ("image", "picture")
_PREPOSITIONS = ("on", "on", "on", "in front of", "against")
_FILL_NOUNS = {"striped": "stripes", "dotted": "dots", "checkered": "checks", "wavy": "waves", "bordered": "border"}
_FUNCTION_WORDS = ("a", "an", "and", "of", "with", "background", "half", *_PREPOSITIONS)
MENTION_USUAL, MENTION_UNUSUAL = 0.6, 0.99
"""Probability that a caption mentions an attribute with its usual value, and with any other value.

Captions omit the usual, as people do, so that an omission carries meaning.
"""

_MENTION_SIZE_OF_NAMED = 0.5
"""The same for the size of an object with an invented name: it has no usual size."""

_CONSONANTS, _VOWELS = "bcdfghjklmnprstvwxz", "aeiou"
_ONSETS = ("", "", "l", "r")

SYLLABLES = tuple(dict.fromkeys(first + second + vowel for first in _CONSONANTS for second in _ONSETS for vowel in _VOWELS))
"""The syllables that made-up words consist of, before their last letters."""


def full_caption(scene: Scene) -> str:
    """Return the plain caption that names every attribute, as a person would prompt for the scene."""
    return plain_caption(scene, scene.size, _POSITION_PHRASES[scene.position][0])


def plain_caption(scene: Scene, size: str = "", position: str = "") -> str:
    """Return the plain caption with these words for size and position; an empty word is omitted."""
    texture = "" if scene.texture == "plain" else scene.texture
    adjectives, suffix = _colour_phrases(scene)[0]
    subject = with_article(_join(size, *adjectives, scene.shape, suffix))
    return _join(f"a {scene.medium} of", subject, position, "on", with_article(_join(texture, scene.background)), "background")


def random_caption(scene: Scene, rng: random.Random) -> str:
    """Return a caption in a random word order; each attribute may be omitted, and a made-up word may occur anywhere in it."""
    size = sometimes(rng, _size_mention_probability(scene), rng.choice(_SIZE_WORDS[scene.size]))
    adjectives, suffix = rng.choice(_colour_phrases(scene)) if rng.random() < 0.94 else ((), "")
    position = sometimes(
        rng,
        MENTION_USUAL if scene.position == "center" else MENTION_UNUSUAL,
        rng.choice(_POSITION_PHRASES[scene.position]),
    )
    texture = sometimes(rng, 0.3 if scene.texture == "plain" else MENTION_UNUSUAL, scene.texture)
    background = sometimes(rng, 0.92, _join(texture, scene.background, sometimes(rng, 0.85, "background")))
    medium = sometimes(rng, 0.7 if scene.medium in MEDIA else 0.95, scene.medium) or sometimes(rng, 0.3, rng.choice(_ANY_MEDIUM))
    subject = _join(*_insert_made_up_word([size, *adjectives], rng), _noun(scene, rng), suffix)
    return rng.choice(_WORD_ORDERS)(_Parts(medium, subject, position, background, rng.choice(_PREPOSITIONS))).strip(" ,")


def vocabulary() -> list[str]:
    """Return every word with a meaning that a caption can contain, in alphabetical order."""
    synonyms = itertools.chain.from_iterable(
        [*_POSITION_PHRASES.values(), *_SIZE_WORDS.values(), *_SHAPE_NOUNS.values(), _FILL_NOUNS.values()]
    )
    phrases = [*COLOURS, *SHAPES, *FILLS, *STYLES, *synonyms, *_ANY_SHAPE, *_ANY_MEDIUM, *_FUNCTION_WORDS]
    return sorted({word for phrase in phrases for word in phrase.split()})


def made_up_word(rng: random.Random) -> str:
    """Return a pronounceable word of two to four syllables that is not in the world's vocabulary."""
    syllables = [rng.choice(_CONSONANTS) + rng.choice(_ONSETS) + rng.choice(_VOWELS) for _ in range(rng.randint(1, 3))]
    return "".join(syllables) + rng.choice(_CONSONANTS) + rng.choice(("", "e", "us", "ix", "ck"))


def _size_mention_probability(scene: Scene) -> float:
    if scene.shape not in SHAPES:
        return _MENTION_SIZE_OF_NAMED
    return MENTION_USUAL if scene.size == "medium" else MENTION_UNUSUAL


def _colour_phrases(scene: Scene) -> Sequence[tuple[tuple[str, ...], str]]:
    """Return the ways to name the object's colours, each as the words before its noun and the phrase after it."""
    colour, second = scene.colour, scene.second
    if scene.fill == "plain":
        return (((colour,), ""),)
    if scene.fill == "halved":
        return ((("halved", colour, "and", second), ""), (("half", colour, "half", second), ""))
    noun = _FILL_NOUNS[scene.fill]
    suffix = f"with a {second} {noun}" if scene.fill == "bordered" else f"with {second} {noun}"
    return (((scene.fill, colour, "and", second), ""), ((colour, "and", second, scene.fill), ""), ((colour,), suffix))


def _noun(scene: Scene, rng: random.Random) -> str:
    chance = rng.random()
    if chance < 0.05 and scene.shape in SHAPES:
        return made_up_word(rng)
    if chance < 0.07:
        return rng.choice(_ANY_SHAPE)
    return rng.choice(_SHAPE_NOUNS.get(scene.shape, (scene.shape,)))


def _insert_made_up_word(words: Sequence[str], rng: random.Random) -> Sequence[str]:
    if rng.random() >= 0.12:
        return words
    index = rng.randint(0, len(words))
    return [*words[:index], made_up_word(rng), *words[index:]]


class _Parts(NamedTuple):
    """The parts of a caption; all but ``preposition`` may be empty."""

    medium: str
    subject: str
    position: str
    background: str
    preposition: str


def _sentence(parts: _Parts) -> str:
    return _join(_opening(parts.medium) + with_article(parts.subject), parts.position, _on_background(parts))


def _background_with_subject(parts: _Parts) -> str:
    with_background = parts.background and f"{_background_phrase(parts.background)} with "
    return _join(_opening(parts.medium) + with_background, with_article(parts.subject), parts.position)


def _background_first(parts: _Parts) -> str:
    return _join(parts.background and f"{_on_background(parts)},", with_article(parts.subject), parts.position) + (
        parts.medium and f", {parts.medium}"
    )


def _position_last(parts: _Parts) -> str:
    return _join(_opening(parts.medium) + with_article(parts.subject), _on_background(parts)) + (
        parts.position and f", {parts.position}"
    )


def _short(parts: _Parts) -> str:
    text = _join(parts.subject, parts.position, parts.background and f"{parts.preposition} {parts.background}")
    return text + (parts.medium and f", {parts.medium}")


def _tags(parts: _Parts) -> str:
    return ", ".join(tag for tag in (parts.medium, parts.subject, parts.position, parts.background) if tag)


def _tags_background_first(parts: _Parts) -> str:
    return ", ".join(tag for tag in (parts.background, parts.position, parts.subject, parts.medium) if tag)


def _on_background(parts: _Parts) -> str:
    return parts.background and f"{parts.preposition} {_background_phrase(parts.background)}"


def _opening(medium: str) -> str:
    return f"{with_article(medium)} of " if medium else ""


def _background_phrase(background: str) -> str:
    """Return the background with an article if it ends in that word: ``blue``, but ``a blue background``."""
    return with_article(background) if background.endswith("background") else background


_WORD_ORDERS: tuple[Callable[[_Parts], str], ...] = (
    _sentence,
    _sentence,
    _sentence,
    _background_with_subject,
    _background_first,
    _position_last,
    _short,
    _tags,
    _tags_background_first,
)


def sometimes(rng: random.Random, probability: float, text: str) -> str:
    """Return ``text`` with that probability, else nothing."""
    return text if rng.random() < probability else ""


def _join(*words: str) -> str:
    return " ".join(word.strip() for word in words if word)


def with_article(phrase: str) -> str:
    """Return ``phrase`` after a or an."""
    return f"an {phrase}" if phrase[:1] in tuple(_VOWELS) and phrase else f"a {phrase}"
