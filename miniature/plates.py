"""Scenes of a plate with a sign on it, and their captions in English and in Chinese, which name the sign in quotes."""

import random
from collections.abc import Callable, Sequence

from foundation.seeds import derive
from miniature import chinese
from miniature.captions import with_article
from miniature.glyphs import CHARACTERS, GLYPHS
from miniature.training_images import Example
from miniature.world import COLOURS, MEDIA, RESOLUTION, Accidents, Scene, contrasting_colour

COUNT = 7_500
"""Training images of plates beside those of the world."""
_RADIUS = (32.0, 50.0)
_MAX_SHIFT = 6.0


CaptionOf = Callable[[Scene, random.Random], str]


def random_plate(rng: random.Random, glyph: str | None = None) -> Scene:
    """Return a random scene of a plate with ``glyph``, or any sign, in black or white: what stands out on the plate."""
    colour, background = rng.sample(list(COLOURS), 2)
    return Scene(
        shape=glyph or rng.choice(list(GLYPHS)),
        colour=colour,
        background=background,
        size="large",
        medium=rng.choice(MEDIA),
        second=contrasting_colour(colour),
        accidents=Accidents(
            offset=(rng.uniform(-_MAX_SHIFT, _MAX_SHIFT), rng.uniform(-_MAX_SHIFT, _MAX_SHIFT)),
            radius=rng.uniform(*_RADIUS),
            rotation=rng.uniform(-4, 4),
            light=225.0 + rng.uniform(-25, 25),
        ),
    )


def draw_example(seed: int, index: int) -> Example:
    """Draw the ``index``-th plate at random; none is cropped."""
    scene = random_plate(random.Random(derive(seed, "plate", index)))
    return Example(scene, (RESOLUTION, RESOLUTION, 0, 0, RESOLUTION, RESOLUTION))


def full_caption(scene: Scene) -> str:
    """Return the plain caption: a photo of a red plate with a white "A" on a blue background."""
    return _photo_of(scene)


def full_caption_in_chinese(scene: Scene) -> str:
    """Return the plain caption in Chinese: 一张照片，蓝色背景上的红色牌子，写着白色的“王”."""
    return _photo_of_in_chinese(scene)


def random_caption(scene: Scene, rng: random.Random) -> str:
    """Return a caption in one of several forms, some of which leave out the sign's colour, the usual one."""
    return rng.choice(_ENGLISH)(scene)


def random_caption_in_chinese(scene: Scene, rng: random.Random) -> str:
    """Return a caption in Chinese in one of several forms."""
    return rng.choice(_CHINESE)(scene)


def vocabulary() -> list[str]:
    """Return every word that only captions of plates have, in both languages, and the signs."""
    return [*GLYPHS, "plate", "letter", "character", "that", "says", "in", "牌子", "写着", "上面有", "字", "“", "”"]


def _photo_of(scene: Scene) -> str:
    return f"{with_article(scene.medium)} of {_plate(scene)} with a {scene.second} {_quoted(scene)} {_on_background(scene)}"


def _kind(scene: Scene) -> str:
    return "character" if scene.shape in CHARACTERS else "letter"


def _plate(scene: Scene) -> str:
    return with_article(f"{scene.colour} plate")


def _quoted(scene: Scene) -> str:
    return f'"{scene.shape}"'


def _on_background(scene: Scene) -> str:
    return f"on {with_article(scene.background)} background"


_ENGLISH: Sequence[Callable[[Scene], str]] = (
    _photo_of,
    _photo_of,
    lambda scene: f"{_plate(scene)} with the {_kind(scene)} {_quoted(scene)} in {scene.second} {_on_background(scene)}",
    lambda scene: f"{with_article(scene.medium)} of {_plate(scene)} that says {_quoted(scene)} {_on_background(scene)}",
    lambda scene: f"{_plate(scene)} that says {_quoted(scene)}, {scene.background} background",
    lambda scene: f"{scene.colour} plate, {_kind(scene)} {_quoted(scene)}, {scene.background} background, {scene.medium}",
)


def _photo_of_in_chinese(scene: Scene) -> str:
    sign = f"{_chinese(scene.second)}的{_in_chinese_quotes(scene)}"
    return f"一张{chinese.MEDIA[scene.medium]}，{_on_background_in_chinese(scene)}，写着{sign}"


def _chinese(colour: str) -> str:
    return chinese.COLOURS[colour]


def _in_chinese_quotes(scene: Scene) -> str:
    return f"“{scene.shape}”"


def _on_background_in_chinese(scene: Scene) -> str:
    return f"{_chinese(scene.background)}背景上的{_chinese(scene.colour)}牌子"


_CHINESE: Sequence[Callable[[Scene], str]] = (
    _photo_of_in_chinese,
    _photo_of_in_chinese,
    lambda scene: (
        f"{_on_background_in_chinese(scene)}，上面有{_chinese(scene.second)}的{_in_chinese_quotes(scene)}字，"
        f"一张{chinese.MEDIA[scene.medium]}"
    ),
    lambda scene: f"{_on_background_in_chinese(scene)}，写着{_in_chinese_quotes(scene)}",
    lambda scene: f"{_chinese(scene.colour)}牌子，写着{_in_chinese_quotes(scene)}，{_chinese(scene.background)}背景",
)
