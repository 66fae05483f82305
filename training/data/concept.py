"""``concept.yaml`` beside the images: what is being taught."""

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
    """The trigger word that stands for the concept in captions and prompts, and how images and captions are read.

    ``background``, a colour by its name or as #rrggbb, is what transparent images lie on. ``template`` is put around every
    caption; ``{caption}`` and ``{trigger}`` stand in it for those. ``presets`` are texts that captions call by ``[name]``.

    ``caption`` is for images that have none. ``class_word`` says what kind of thing the concept is, and captions regularization
    images that have no caption. The lines of a caption file are ``alternatives``, or ``joined`` to one caption.
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
    def _has_its_places(cls, value: str) -> str:
        try:
            places = {name for _, name, _, _ in Formatter().parse(value) if name is not None}
        except ValueError as error:
            raise ValueError(f"{error}; double a brace that stands for itself") from None
        if "caption" not in places or not places <= {"caption", "trigger"}:
            raise ValueError("it must hold {caption}, and may hold {trigger} and no other")
        return value

    @field_validator("background")
    @classmethod
    def _is_a_colour(cls, value: str) -> str:
        ImageColor.getrgb(value)
        return value


def read_concept(dataset: Path, trigger: str | None = None) -> Concept:
    """Read ``concept.yaml`` of a data set; a ``trigger`` that is given comes before what it says.

    Without the file the trigger word is the given one, or the first word of kohya's folder names, whose others are the class
    word. ``BadInput`` says what to write where neither tells it.
    """
    path = dataset / NAME
    if path.exists():
        values = read_yaml(path)
        return parse(Concept, {**values, "trigger": trigger} if trigger and isinstance(values, dict) else values, str(path))
    names = kohya_names(dataset)
    words = {name.split()[0] for name in names}
    if trigger is None and len(words) != 1:
        several = f" Its folders name several: {', '.join(sorted(words))}." if words else ""
        raise BadInput(
            f"{path}: missing.{several} Write `trigger: <the word that calls the concept>` into it, a word that means nothing "
            "yet and that the captions use, or give the word as --trigger (`make finetune_z TRIGGER=<word>`)."
        )
    named = next((name for name in names if name.split()[0] == (trigger or next(iter(words)))), "")
    values = {"trigger": trigger or next(iter(words)), "class_word": " ".join(named.split()[1:]) or None}
    return parse(Concept, values, str(path))
