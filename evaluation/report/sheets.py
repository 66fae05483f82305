"""Images of images: one overview of all, and for each prompt its seeds by its scales."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from evaluation.collect import slug
from evaluation.report.view_model import Row, Shown
from evaluation.results import SampleResult
from foundation.hashing import hash_value

_TILE, _GAP, _LABEL, _PROMPT = 128, 4, 76, 62
_PROMPTS_EACH = 3
_SMALL = 96


def overview(shown: Shown) -> Image.Image:
    """Prompts of every stratum across and scales down, the first seed of each."""
    rows = [row for _, rows in shown.strata for row in rows[:_PROMPTS_EACH]]
    sheet = Image.new("RGB", (_LABEL + len(rows) * (_TILE + _GAP), _PROMPT + len(shown.columns) * (_TILE + _GAP)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=12)
    for place, column in enumerate(shown.columns):
        pen.multiline_text((8, _PROMPT + place * (_TILE + _GAP) + _TILE // 2 - 16), _side(column.label), fill="black", font=font)
    for across, row in enumerate(rows):
        left = _LABEL + across * (_TILE + _GAP)
        text = "\n".join(textwrap.wrap(row.prompt, 21, max_lines=4, placeholder=" …"))
        pen.multiline_text((left, 2), text, fill="black", font=font, spacing=1)
        for down, sample in enumerate(next(iter(row.images.values()))):
            _paste(sheet, (left, _PROMPT + down * (_TILE + _GAP)), _TILE, sample.image, shown.folder)
    return sheet


def grid(shown: Shown, row: Row) -> Image.Image:
    """One prompt: its seeds down, the scales across."""
    count = len(shown.columns)
    sheet = Image.new("RGB", (count * (_SMALL + _GAP) - _GAP, 18 + len(row.images) * (_SMALL + _GAP)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=11)
    for across, column in enumerate(shown.columns):
        pen.text((across * (_SMALL + _GAP) + 2, 2), column.label, fill="black", font=font)
    for down, images in enumerate(row.images.values()):
        _across(sheet, 18 + down * (_SMALL + _GAP), images, shown.folder)
    return sheet


def closest(shown: Shown) -> Image.Image:
    """The adapters' images most like a training image above those."""
    count = len(shown.closest)
    sheet = Image.new("RGB", (_LABEL + count * (_SMALL + _GAP), 2 * (_SMALL + _GAP)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=12)
    for down, label in enumerate(("made", "trained on")):
        pen.text((8, down * (_SMALL + _GAP) + _SMALL // 2 - 6), label, fill="black", font=font)
    for across, sample in enumerate(shown.closest):
        for down, name in enumerate((sample.image, sample.nearest)):
            _paste(sheet, (_LABEL + across * (_SMALL + _GAP), down * (_SMALL + _GAP)), _SMALL, name, shown.folder)
    return sheet


def grid_name(row: Row) -> str:
    """The file of a prompt's grid, relative to the report."""
    return f"grids/{row.stratum}-{slug(row.prompt, 60)}-{hash_value(row.prompt)[:10]}.webp"


def _across(sheet: Image.Image, top: int, images: Sequence[SampleResult], folder: Path) -> None:
    for across, sample in enumerate(images):
        _paste(sheet, (across * (_SMALL + _GAP), top), _SMALL, sample.image, folder)


def _side(label: str) -> str:
    return "base" if label == "base" else "\n".join(textwrap.wrap(f"adapter at {label}", 11))


def _paste(sheet: Image.Image, corner: tuple[int, int], edge: int, name: str | None, folder: Path) -> None:
    """Put an image into a square of ``edge`` pixels, whole and in its middle; one that failed leaves it empty."""
    if name is None:
        return
    with Image.open(folder / name) as image:
        small = image.convert("RGB")
        small.thumbnail((edge, edge))
        sheet.paste(small, (corner[0] + (edge - small.width) // 2, corner[1] + (edge - small.height) // 2))
