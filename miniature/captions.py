"""Captions for scenes: several natural word orders, words left out at random, and now and then a word that means nothing."""

import itertools
import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

from miniature.world import COLOURS, FILLS, MEDIA, SHAPES, STYLES, Scene

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
_ANY_MEDIUM = ("image", "picture")
_ON = ("on", "on", "on", "in front of", "against")
_FILLS = {"striped": "stripes", "dotted": "dots", "checkered": "checks", "wavy": "waves", "bordered": "border"}
_JOINTS = ("a", "an", "and", "of", "with", "background", "half", *_ON)
_SAID_IF_USUAL, _SAID_IF_NOT = 0.6, 0.99
"""How often a word is said. Captions leave out what goes without saying, as people do, so that leaving it out means something."""

_NAMED_SIZE_SAID = 0.5
"""The same for the size of a thing that has a name of its own: it has no usual one."""

_CONSONANTS, _VOWELS = "bcdfghjklmnprstvwxz", "aeiou"


def full(scene: Scene) -> str:
    """The plain caption that names everything, as a person would prompt for the scene."""
    return prompt(scene, scene.size, _PLACES[scene.position][0])


def prompt(scene: Scene, size: str = "", place: str = "") -> str:
    """The plain caption with these words for size and place, or without."""
    pattern = "" if scene.texture == "plain" else scene.texture
    before, after = _surfaces(scene)[0]
    thing = _article(_words(size, *before, scene.shape, after))
    return _words(f"a {scene.medium} of", thing, place, "on", _article(_words(pattern, scene.background)), "background")


def vary(scene: Scene, rng: random.Random) -> str:
    """A caption in a random word order; each attribute may be missing, and a made-up word may stand anywhere in it."""
    size = _sometimes(rng, _size_said(scene), rng.choice(_SIZES[scene.size]))
    before, after = rng.choice(_surfaces(scene)) if rng.random() < 0.94 else ((), "")
    place = _sometimes(rng, _SAID_IF_USUAL if scene.position == "center" else _SAID_IF_NOT, rng.choice(_PLACES[scene.position]))
    texture = _sometimes(rng, 0.3 if scene.texture == "plain" else _SAID_IF_NOT, scene.texture)
    ground = _sometimes(rng, 0.92, _words(texture, scene.background, _sometimes(rng, 0.85, "background")))
    medium = _sometimes(rng, 0.7 if scene.medium in MEDIA else 0.95, scene.medium) or _sometimes(
        rng, 0.3, rng.choice(_ANY_MEDIUM)
    )
    thing = _words(*_with_nonsense([size, *before], rng), _noun(scene, rng), after)
    return rng.choice(_ORDERS)(_Parts(medium, thing, place, ground, rng.choice(_ON))).strip(" ,")


def vocabulary() -> list[str]:
    """Every word with a meaning that a caption can hold, in alphabetical order."""
    synonyms = itertools.chain.from_iterable([*_PLACES.values(), *_SIZES.values(), *_NOUNS.values(), _FILLS.values()])
    phrases = [*COLOURS, *SHAPES, *FILLS, *STYLES, *synonyms, *_ANY_SHAPE, *_ANY_MEDIUM, *_JOINTS]
    return sorted({word for phrase in phrases for word in phrase.split()})


def made_up_word(rng: random.Random) -> str:
    """A pronounceable word of two to four syllables that is in no dictionary of the world."""
    syllables = [rng.choice(_CONSONANTS) + rng.choice(("", "", "l", "r")) + rng.choice(_VOWELS) for _ in range(rng.randint(1, 3))]
    return "".join(syllables) + rng.choice(_CONSONANTS) + rng.choice(("", "e", "us", "ix", "ck"))


def _size_said(scene: Scene) -> float:
    if scene.shape not in SHAPES:
        return _NAMED_SIZE_SAID
    return _SAID_IF_USUAL if scene.size == "medium" else _SAID_IF_NOT


def _surfaces(scene: Scene) -> Sequence[tuple[tuple[str, ...], str]]:
    """Ways to tell the object's colours: words before its noun, and after it."""
    colour, second = scene.colour, scene.second
    if scene.fill == "plain":
        return (((colour,), ""),)
    if scene.fill == "halved":
        return ((("halved", colour, "and", second), ""), (("half", colour, "half", second), ""))
    detail = _FILLS[scene.fill]
    told = f"with a {second} {detail}" if scene.fill == "bordered" else f"with {second} {detail}"
    return (((scene.fill, colour, "and", second), ""), ((colour, "and", second, scene.fill), ""), ((colour,), told))


def _noun(scene: Scene, rng: random.Random) -> str:
    chance = rng.random()
    if chance < 0.05 and scene.shape in SHAPES:
        return made_up_word(rng)
    if chance < 0.07:
        return rng.choice(_ANY_SHAPE)
    return rng.choice(_NOUNS.get(scene.shape, (scene.shape,)))


def _with_nonsense(words: Sequence[str], rng: random.Random) -> Sequence[str]:
    if rng.random() >= 0.12:
        return words
    place = rng.randint(0, len(words))
    return [*words[:place], made_up_word(rng), *words[place:]]


class _Parts(NamedTuple):
    """What a caption is put together from; all but ``on`` may be missing."""

    medium: str
    thing: str
    place: str
    ground: str
    on: str


def _sentence(parts: _Parts) -> str:
    return _words(_opening(parts.medium) + _article(parts.thing), parts.place, _on(parts))


def _ground_in_front(parts: _Parts) -> str:
    with_ground = parts.ground and f"{_ground(parts.ground)} with "
    return _words(_opening(parts.medium) + with_ground, _article(parts.thing), parts.place)


def _ground_before(parts: _Parts) -> str:
    return _words(parts.ground and f"{_on(parts)},", _article(parts.thing), parts.place) + (parts.medium and f", {parts.medium}")


def _place_last(parts: _Parts) -> str:
    return _words(_opening(parts.medium) + _article(parts.thing), _on(parts)) + (parts.place and f", {parts.place}")


def _short(parts: _Parts) -> str:
    told = _words(parts.thing, parts.place, parts.ground and f"{parts.on} {parts.ground}")
    return told + (parts.medium and f", {parts.medium}")


def _tags(parts: _Parts) -> str:
    return ", ".join(tag for tag in (parts.medium, parts.thing, parts.place, parts.ground) if tag)


def _tags_ground_first(parts: _Parts) -> str:
    return ", ".join(tag for tag in (parts.ground, parts.place, parts.thing, parts.medium) if tag)


def _on(parts: _Parts) -> str:
    return parts.ground and f"{parts.on} {_ground(parts.ground)}"


def _opening(medium: str) -> str:
    return f"{_article(medium)} of " if medium else ""


def _ground(ground: str) -> str:
    """``blue`` alone stands without an article, ``a blue background`` with one."""
    return _article(ground) if ground.endswith("background") else ground


_ORDERS: tuple[Callable[[_Parts], str], ...] = (
    _sentence,
    _sentence,
    _sentence,
    _ground_in_front,
    _ground_before,
    _place_last,
    _short,
    _tags,
    _tags_ground_first,
)


def _sometimes(rng: random.Random, chance: float, text: str) -> str:
    return text if rng.random() < chance else ""


def _words(*words: str) -> str:
    return " ".join(word.strip() for word in words if word)


def _article(phrase: str) -> str:
    return f"an {phrase}" if phrase[:1] in tuple(_VOWELS) and phrase else f"a {phrase}"
