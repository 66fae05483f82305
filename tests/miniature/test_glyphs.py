"""Plates with signs: each sign is unlike every other, and stays so at the size of an image."""

import itertools

import numpy as np

from miniature.drawing import draw
from miniature.glyphs import CHARACTERS, GLYPHS, LETTERS
from miniature.world import Accidents, Scene


def _drawn(glyph: str) -> np.ndarray:
    """Return where a black sign on a white plate is dark, on a red background."""
    scene = Scene(glyph, "white", "red", "large", second="black", accidents=Accidents(radius=46.0))
    return draw(scene).astype(int).max(axis=2) < 120


def test_there_are_ten_letters_and_ten_characters() -> None:
    assert len(LETTERS) == len(CHARACTERS) == 10
    assert len(GLYPHS) == 20


def test_every_sign_is_drawn_on_its_plate_and_unlike_every_other() -> None:
    drawn = {glyph: _drawn(glyph) for glyph in GLYPHS}

    for glyph, dark in drawn.items():
        assert 300 < dark.sum() < 4000, glyph
    for first, second in itertools.combinations(GLYPHS, 2):
        overlap = (drawn[first] & drawn[second]).sum() / (drawn[first] | drawn[second]).sum()
        assert overlap < 0.85, (first, second)
