"""``concept.yaml`` next to the images: the concept to be learned."""

from collections.abc import Mapping
from pathlib import Path
from string import Formatter
from typing import Literal

from PIL import ImageColor
from pydantic import Field, field_validator

from foundation.config import Strict, parse, read_yaml
from foundation.errors import BadInput
from training.data.layout import kohya_names

NAME = "concept.yaml"


class Concept(Strict):
    """The trigger word for the concept in captions and prompts, and how images and captions are read.

    ``background``, a colour by its name or as #rrggbb, fills the transparent parts of images. ``template`` is put around every
    caption, with the placeholders ``{caption}`` and ``{trigger}``. ``presets`` are texts that captions insert by ``[name]``.

    ``caption`` is for images that have none. ``class_word`` names the class of the concept, and is the caption of regularization
    images that have none. The lines of a caption file are ``alternatives``, or ``joined`` to one caption.
    """

    trigger: str = Field(min_length=2, max_length=60, pattern=r"^\S+$")
    background: str = "white"
    template: str = "{caption}"
    presets: Mapping[str, str] = {}
    caption: str | None = Field(default=None, min_length=1)
    class_word: str | None = Field(default=None, min_length=1)
    caption_lines: Literal["alternatives", "joined"] = "alternatives"

    @field_validator("template")
    @classmethod
    def _check_template(cls, value: str) -> str:
        try:
            placeholders = {name for _, name, _, _ in Formatter().parse(value) if name is not None}
        except ValueError as error:
            raise ValueError(f"{error}; double a literal brace") from None
        if "caption" not in placeholders or not placeholders <= {"caption", "trigger"}:
            raise ValueError("it must contain {caption}; {trigger} is the only other placeholder allowed")
        return value

    @field_validator("background")
    @classmethod
    def _check_background(cls, value: str) -> str:
        ImageColor.getrgb(value)
        return value


def read_concept(dataset: Path, trigger: str | None = None) -> Concept:
    """Read ``concept.yaml`` of a data set; a given ``trigger`` overrides the one in the file.

    Without the file, the trigger word is the given one, or the first word of kohya's folder names; the other words are the class
    word. Raises ``BadInput``, which says what to write, if neither is there.
    """
    path = dataset / NAME
    if path.exists():
        values = read_yaml(path)
        return parse(Concept, {**values, "trigger": trigger} if trigger and isinstance(values, dict) else values, str(path))
    names = kohya_names(dataset)
    triggers = {name.split()[0] for name in names}
    if trigger is None and len(triggers) != 1:
        several = f" Its folders name several triggers: {', '.join(sorted(triggers))}." if triggers else ""
        raise BadInput(
            f"{path}: missing.{several} Write `trigger: <trigger word>` into it, a word without a meaning that the captions use, "
            "or pass the word as --trigger (`make finetune_z TRIGGER=<word>`)."
        )
    named = next((name for name in names if name.split()[0] == (trigger or next(iter(triggers)))), "")
    values = {"trigger": trigger or next(iter(triggers)), "class_word": " ".join(named.split()[1:]) or None}
    return parse(Concept, values, str(path))
