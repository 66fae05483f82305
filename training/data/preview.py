"""A contact sheet of the prepared images with their captions."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageOps

from training.data.dataset import Entry

_COLUMNS, _TILE, _TEXT, _GAP = 5, 192, 58, 8
_MASKED = (255, 0, 128)


def contact_sheet(folder: Path, entries: Sequence[Entry]) -> Image.Image:
    """All images of ``entries``, below each its file name, its role unless it is trained on, and its caption.

    What a mask leaves out of the training is tinted.
    """
    rows = -(-len(entries) // _COLUMNS)
    width, height = _COLUMNS * (_TILE + _GAP) + _GAP, rows * (_TILE + _TEXT + _GAP) + _GAP
    sheet = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(sheet)
    for place, entry in enumerate(entries):
        x = _GAP + place % _COLUMNS * (_TILE + _GAP)
        y = _GAP + place // _COLUMNS * (_TILE + _TEXT + _GAP)
        tile = ImageOps.contain(_image(folder, entry), (_TILE, _TILE))
        sheet.paste(tile, (x + (_TILE - tile.width) // 2, y + (_TILE - tile.height) // 2))
        role = "" if entry.role == "train" else f" ({entry.role})"
        pen.text((x, y + _TILE + 2), Path(entry.source).name + role, fill="black")
        caption = "\n".join(textwrap.wrap(entry.caption, 32, max_lines=3, placeholder=" …"))
        pen.multiline_text((x, y + _TILE + 14), caption, fill="dimgray")
    return sheet


def _image(folder: Path, entry: Entry) -> Image.Image:
    with Image.open(folder / entry.file) as opened:
        image = opened.convert("RGB")
    if entry.mask is None:
        return image
    with Image.open(folder / entry.mask) as mask:
        tinted = Image.blend(image, Image.new("RGB", image.size, _MASKED), 0.6)
        return Image.composite(image, tinted, mask.convert("L"))
