"""Captions for scenes: several natural word orders, words left out at random, and now and then a word that means nothing."""

import itertools
import random
from collections.abc import Callable, Sequence

from training.mini_base.world import COLOURS, MEDIA, SHAPES, TEXTURES, Scene

_PLACES = {
    "center": ("in the center", "in the middle", "centered"),
    "left": ("at the left", "on the left", "on the left side"),
    "right": ("at the right", "on the right", "on the right side"),
    "top": ("at the top", "near the top"),
    "bottom": ("at the bottom", "near the bottom"),
}
_SIZES = {"small": ("small", "little"), "medium": ("medium", "medium-sized"), "large": ("large", "big")}
_NOUNS = {"ring": ("ring",), "cross": ("cross", "plus")}
_ANY_SHAPE = ("shape", "thing", "object")
_JOINTS = ("a", "an", "of", "on", "with", "background")
_SAID_IF_USUAL, _SAID_IF_NOT = 0.6, 0.99
"""How often a word is said. Captions leave out what goes without saying, as people do, so that leaving it out means something."""

_CONSONANTS, _VOWELS = "bcdfghjklmnprstvwxz", "aeiou"


def full(scene: Scene) -> str:
    """The plain caption that names everything, as a person would prompt for the scene."""
    return prompt(scene, scene.size, _PLACES[scene.position][0])


def prompt(scene: Scene, size: str = "", place: str = "") -> str:
    """The plain caption with these words for size and place, or without."""
    texture = "" if scene.texture == "plain" else scene.texture
    thing = _article(_words(size, scene.colour, scene.shape))
    return _words(f"a {scene.medium} of", thing, place, "on", _article(_words(texture, scene.background)), "background")


def vary(scene: Scene, rng: random.Random) -> str:
    """A caption in a random word order; each attribute may be missing, and a made-up word may stand anywhere in it."""
    size = _sometimes(rng, _SAID_IF_USUAL if scene.size == "medium" else _SAID_IF_NOT, rng.choice(_SIZES[scene.size]))
    colour = _sometimes(rng, 0.94, scene.colour)
    place = _sometimes(rng, _SAID_IF_USUAL if scene.position == "center" else _SAID_IF_NOT, rng.choice(_PLACES[scene.position]))
    texture = _sometimes(rng, 0.3 if scene.texture == "plain" else _SAID_IF_NOT, scene.texture)
    ground = _sometimes(rng, 0.92, _words(texture, scene.background, "background"))
    medium = _sometimes(rng, 0.7, scene.medium)
    thing = _words(*_with_nonsense([size, colour], rng), _noun(scene, rng))
    return rng.choice(_ORDERS)(medium, thing, place, ground).strip(" ,")


def vocabulary() -> list[str]:
    """Every word with a meaning that a caption can hold, in alphabetical order."""
    synonyms = itertools.chain.from_iterable([*_PLACES.values(), *_SIZES.values(), *_NOUNS.values()])
    phrases = [*COLOURS, *SHAPES, *TEXTURES, *MEDIA, *synonyms, *_ANY_SHAPE, *_JOINTS]
    return sorted({word for phrase in phrases for word in phrase.split()})


def made_up_word(rng: random.Random) -> str:
    """A pronounceable word of two to four syllables that is in no dictionary of the world."""
    syllables = [rng.choice(_CONSONANTS) + rng.choice(("", "", "l", "r")) + rng.choice(_VOWELS) for _ in range(rng.randint(1, 3))]
    return "".join(syllables) + rng.choice(_CONSONANTS) + rng.choice(("", "e", "us", "ix", "ck"))


def _noun(scene: Scene, rng: random.Random) -> str:
    chance = rng.random()
    if chance < 0.05:
        return made_up_word(rng)
    if chance < 0.07:
        return rng.choice(_ANY_SHAPE)
    return rng.choice(_NOUNS.get(scene.shape, (scene.shape,)))


def _with_nonsense(words: Sequence[str], rng: random.Random) -> Sequence[str]:
    if rng.random() >= 0.12:
        return words
    place = rng.randint(0, len(words))
    return [*words[:place], made_up_word(rng), *words[place:]]


def _sentence(medium: str, thing: str, place: str, ground: str) -> str:
    opening = f"{_article(medium)} of " if medium else ""
    return _words(opening + _article(thing), place, ground and f"on {_article(ground)}")


def _ground_in_front(medium: str, thing: str, place: str, ground: str) -> str:
    opening = f"{_article(medium)} of " if medium else ""
    return _words(opening + (ground and f"{_article(ground)} with "), _article(thing), place)


def _ground_before(medium: str, thing: str, place: str, ground: str) -> str:
    return _words(ground and f"on {_article(ground)},", _article(thing), place) + (medium and f", {medium}")


def _place_last(medium: str, thing: str, place: str, ground: str) -> str:
    opening = f"{_article(medium)} of " if medium else ""
    return _words(opening + _article(thing), ground and f"on {_article(ground)}") + (place and f", {place}")


def _tags(medium: str, thing: str, place: str, ground: str) -> str:
    return ", ".join(tag for tag in (medium, thing, place, ground) if tag)


def _tags_ground_first(medium: str, thing: str, place: str, ground: str) -> str:
    return ", ".join(tag for tag in (ground, place, thing, medium) if tag)


_ORDERS: tuple[Callable[[str, str, str, str], str], ...] = (
    _sentence,
    _sentence,
    _sentence,
    _ground_in_front,
    _ground_before,
    _place_last,
    _tags,
    _tags_ground_first,
)


def _sometimes(rng: random.Random, chance: float, text: str) -> str:
    return text if rng.random() < chance else ""


def _words(*words: str) -> str:
    return " ".join(word.strip() for word in words if word)


def _article(phrase: str) -> str:
    return f"an {phrase}" if phrase[:1] in tuple(_VOWELS) and phrase else f"a {phrase}"
