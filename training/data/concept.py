"""``concept.yaml`` beside the pictures: what is being taught."""

from collections.abc import Mapping
from pathlib import Path
from string import Formatter

from PIL import ImageColor
from pydantic import Field, field_validator

from foundation.config import Strict, parse, read_yaml
from foundation.errors import BadInput

NAME = "concept.yaml"


class Concept(Strict):
    """The trigger word that stands for the concept in captions and prompts, and how pictures and captions are read.

    ``background``, a colour by its name or as #rrggbb, is what transparent pictures lie on. ``template`` is put around every
    caption; ``{caption}`` and ``{trigger}`` stand in it for those. ``presets`` are texts that captions call by ``[name]``.
    """

    trigger: str = Field(min_length=2, max_length=60, pattern=r"^\S+$")
    background: str = "white"
    template: str = "{caption}"
    presets: Mapping[str, str] = {}

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


def read_concept(dataset: Path) -> Concept:
    """Read ``concept.yaml`` of a data set; ``BadInput`` says what to write when it is missing."""
    path = dataset / NAME
    if not path.exists():
        raise BadInput(
            f"{path}: missing. Write `trigger: <a word that means nothing yet>` into it and use that word in the captions."
        )
    return parse(Concept, read_yaml(path), str(path))
