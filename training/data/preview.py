"""A contact sheet of the prepared pictures with their captions."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from training.data.dataset import Entry

_COLUMNS, _TILE, _TEXT, _GAP = 5, 192, 58, 8


def contact_sheet(folder: Path, entries: Sequence[Entry]) -> Image.Image:
    """All pictures of ``entries``, below each its file name and caption."""
    rows = -(-len(entries) // _COLUMNS)
    width, height = _COLUMNS * (_TILE + _GAP) + _GAP, rows * (_TILE + _TEXT + _GAP) + _GAP
    sheet = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(sheet)
    for place, entry in enumerate(entries):
        x = _GAP + place % _COLUMNS * (_TILE + _GAP)
        y = _GAP + place // _COLUMNS * (_TILE + _TEXT + _GAP)
        with Image.open(folder / entry.file) as picture:
            sheet.paste(picture.resize((_TILE, _TILE)), (x, y))
        pen.text((x, y + _TILE + 2), Path(entry.source).name, fill="black")
        caption = "\n".join(textwrap.wrap(entry.caption, 32, max_lines=3, placeholder=" …"))
        pen.multiline_text((x, y + _TILE + 14), caption, fill="dimgray")
    return sheet
