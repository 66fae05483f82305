"""One picture that shows the whole: prompts across, scales down, the first seed of each."""

import textwrap
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from evaluation.results import Results, SampleResult

_TILE, _GAP, _LABEL, _PROMPT = 128, 4, 76, 62
_PROMPTS_EACH = 4


def overview(results: Results, folder: Path) -> Image.Image:
    """A sheet of the first prompts with the trigger and the first without, the base above and each stronger scale below it."""
    columns = [column for stratum in ("trigger", "control") for column in _columns(results, stratum)[:_PROMPTS_EACH]]
    scales = [scale.lora_scale for scale in results.scales]
    sheet = Image.new("RGB", (_LABEL + len(columns) * (_TILE + _GAP), _PROMPT + len(scales) * (_TILE + _GAP)), "white")
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=12)
    for row, scale in enumerate(scales):
        y = _PROMPT + row * (_TILE + _GAP)
        pen.text((8, y + _TILE // 2 - 16), "base" if scale == 0 else f"adapter\nat {scale:g}", fill="black", font=font)
        for place, column in enumerate(columns):
            _paste(sheet, (_LABEL + place * (_TILE + _GAP), y), column.get(scale), folder)
    for place, column in enumerate(columns):
        text = "\n".join(textwrap.wrap(next(iter(column.values())).prompt, 21, max_lines=4, placeholder=" …"))
        pen.multiline_text((_LABEL + place * (_TILE + _GAP), 2), text, fill="black", font=font, spacing=1)
    return sheet


def _columns(results: Results, stratum: str) -> list[dict[float, SampleResult]]:
    """For each prompt of the stratum, its first seed's sample at every scale."""
    prompts: dict[str, dict[float, SampleResult]] = {}
    for sample in results.samples:
        if sample.stratum == stratum:
            prompts.setdefault(sample.prompt, {}).setdefault(sample.lora_scale, sample)
    return list(prompts.values())


def _paste(sheet: Image.Image, corner: tuple[int, int], sample: SampleResult | None, folder: Path) -> None:
    if sample is None or sample.image is None:
        return
    with Image.open(folder / sample.image) as picture:
        sheet.paste(picture.convert("RGB").resize((_TILE, _TILE)), corner)
