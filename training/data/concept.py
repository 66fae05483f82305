"""``concept.yaml`` beside the pictures: what is being taught."""

from pathlib import Path

from PIL import ImageColor
from pydantic import Field, field_validator

from foundation.config import Strict, parse, read_yaml
from foundation.errors import BadInput

NAME = "concept.yaml"


class Concept(Strict):
    """The trigger word that stands for the concept in captions and prompts, and what its transparent pictures lie on.

    ``background`` is a colour by its name or as #rrggbb.
    """

    trigger: str = Field(min_length=2, max_length=60, pattern=r"^\S+$")
    background: str = "white"

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
