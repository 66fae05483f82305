"""A contact sheet of the prepared images with their captions."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageOps

from training.data.dataset import Entry

_COLUMNS, _TILE, _TEXT, _GAP = 5, 192, 58, 8
_MASK_TINT = (255, 0, 128)


def contact_sheet(folder: Path, entries: Sequence[Entry]) -> Image.Image:
    """Draw all images of ``entries`` with their file names, their roles unless they are trained on, and their captions.

    The parts that a mask excludes from training are tinted.
    """
    rows = -(-len(entries) // _COLUMNS)
    width, height = _COLUMNS * (_TILE + _GAP) + _GAP, rows * (_TILE + _TEXT + _GAP) + _GAP
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    for index, entry in enumerate(entries):
        x = _GAP + index % _COLUMNS * (_TILE + _GAP)
        y = _GAP + index // _COLUMNS * (_TILE + _TEXT + _GAP)
        tile = ImageOps.contain(_image(folder, entry), (_TILE, _TILE))
        sheet.paste(tile, (x + (_TILE - tile.width) // 2, y + (_TILE - tile.height) // 2))
        role = "" if entry.role == "train" else f" ({entry.role})"
        draw.text((x, y + _TILE + 2), Path(entry.source).name + role, fill="black")
        caption = "\n".join(textwrap.wrap(entry.caption, 32, max_lines=3, placeholder=" …"))
        draw.multiline_text((x, y + _TILE + 14), caption, fill="dimgray")
    return sheet


def _image(folder: Path, entry: Entry) -> Image.Image:
    with Image.open(folder / entry.file) as opened:
        image = opened.convert("RGB")
    if entry.mask is None:
        return image
    with Image.open(folder / entry.mask) as mask:
        tinted = Image.blend(image, Image.new("RGB", image.size, _MASK_TINT), 0.6)
        return Image.composite(image, tinted, mask.convert("L"))
