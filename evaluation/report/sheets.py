"""Contact sheets: one overview of all prompts, a grid of seeds by scales for each prompt, and the nearest training images."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from evaluation.collection.collect import slug
from evaluation.report.view_model import ReportView, Row
from evaluation.results import SampleResult
from foundation.hashing import hash_value

_TILE, _GAP, _LABEL_WIDTH, _PROMPT_HEIGHT = 128, 4, 76, 62
_PROMPTS_PER_STRATUM = 3
_SMALL_TILE = 96


def overview(view: ReportView) -> Image.Image:
    """Return prompts of every stratum across and scales down, with the first seed of each."""
    rows = [row for _, rows in view.strata for row in rows[:_PROMPTS_PER_STRATUM]]
    size = (_LABEL_WIDTH + len(rows) * (_TILE + _GAP), _PROMPT_HEIGHT + len(view.columns) * (_TILE + _GAP))
    sheet = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=12)
    for down, column in enumerate(view.columns):
        top = _PROMPT_HEIGHT + down * (_TILE + _GAP) + _TILE // 2 - 16
        draw.multiline_text((8, top), _side_label(column.label), fill="black", font=font)
    for across, row in enumerate(rows):
        left = _LABEL_WIDTH + across * (_TILE + _GAP)
        text = "\n".join(textwrap.wrap(row.prompt, 21, max_lines=4, placeholder=" …"))
        draw.multiline_text((left, 2), text, fill="black", font=font, spacing=1)
        for down, sample in enumerate(next(iter(row.images.values()))):
            _paste(sheet, (left, _PROMPT_HEIGHT + down * (_TILE + _GAP)), _TILE, sample.image, view.folder)
    return sheet


def grid(view: ReportView, row: Row) -> Image.Image:
    """Return the images of one prompt: its seeds down, the scales across."""
    count = len(view.columns)
    size = (count * (_SMALL_TILE + _GAP) - _GAP, 18 + len(row.images) * (_SMALL_TILE + _GAP))
    sheet = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=11)
    for across, column in enumerate(view.columns):
        draw.text((across * (_SMALL_TILE + _GAP) + 2, 2), column.label, fill="black", font=font)
    for down, images in enumerate(row.images.values()):
        _paste_row(sheet, 18 + down * (_SMALL_TILE + _GAP), images, view.folder)
    return sheet


def closest(view: ReportView) -> Image.Image:
    """Return the adapters' images that are most similar to a training image, above those training images."""
    count = len(view.closest)
    sheet = Image.new("RGB", (_LABEL_WIDTH + count * (_SMALL_TILE + _GAP), 2 * (_SMALL_TILE + _GAP)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=12)
    for down, label in enumerate(("generated", "training")):
        draw.text((8, down * (_SMALL_TILE + _GAP) + _SMALL_TILE // 2 - 6), label, fill="black", font=font)
    for across, sample in enumerate(view.closest):
        for down, name in enumerate((sample.image, sample.nearest)):
            corner = (_LABEL_WIDTH + across * (_SMALL_TILE + _GAP), down * (_SMALL_TILE + _GAP))
            _paste(sheet, corner, _SMALL_TILE, name, view.folder)
    return sheet


def grid_name(row: Row) -> str:
    """Return the file of a prompt's grid, relative to the report."""
    return f"grids/{row.stratum}-{slug(row.prompt, 60)}-{hash_value(row.prompt)[:10]}.webp"


def _paste_row(sheet: Image.Image, top: int, images: Sequence[SampleResult], folder: Path) -> None:
    for across, sample in enumerate(images):
        _paste(sheet, (across * (_SMALL_TILE + _GAP), top), _SMALL_TILE, sample.image, folder)


def _side_label(label: str) -> str:
    return "base" if label == "base" else "\n".join(textwrap.wrap(f"adapter at {label}", 11))


def _paste(sheet: Image.Image, corner: tuple[int, int], edge: int, name: str | None, folder: Path) -> None:
    """Paste a whole image into the middle of a square of ``edge`` pixels; the square of a failed image stays empty."""
    if name is None:
        return
    with Image.open(folder / name) as image:
        small = image.convert("RGB")
        small.thumbnail((edge, edge))
        sheet.paste(small, (corner[0] + (edge - small.width) // 2, corner[1] + (edge - small.height) // 2))
