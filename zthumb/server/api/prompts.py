"""The route that says how a prompt is read: with which weights, before anything is generated."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from foundation.errors import BadInput
from zthumb.generation import prompts
from zthumb.generation.grammar.lora_tags import extract
from zthumb.generation.prompts.base import Malformed, Parser
from zthumb.server.api import schema_examples
from zthumb.server.api.dependencies import ServiceDep

router = APIRouter(tags=["generate"])


class PromptRequest(BaseModel):
    """A prompt, and how it is to be read; by default as this server reads prompts."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra=schema_examples.of_schema({"prompt": "a (red:1.3) star", "prompt_parser": "lpw"})
    )

    prompt: Annotated[str, Field(max_length=10_000)]
    prompt_parser: Annotated[str | None, Field(max_length=40)] = None
    steps: Annotated[int, Field(ge=1, le=150, description="of what changes from step to step, the first is read")] = 25


class PromptFragment(BaseModel):
    """A piece of a prompt and its weight."""

    text: str
    weight: float


class PromptResponse(BaseModel):
    """How a prompt is read: its pieces in order, without marks. ``is_changing``: this is how it is read at the first step."""

    model_config = ConfigDict(
        json_schema_extra=schema_examples.of_schema(
            {
                "prompt_parser": "lpw",
                "fragments": [{"text": "a ", "weight": 1.0}, {"text": "red", "weight": 1.3}, {"text": " star", "weight": 1.0}],
                "adapters": [],
                "is_changing": False,
            }
        )
    )

    prompt_parser: str
    fragments: list[PromptFragment]
    adapters: list[str] = Field(description="the adapters that tags in the prompt name")
    is_changing: bool


@router.post("/prompts/read")
def read_prompt(body: PromptRequest, service: ServiceDep) -> PromptResponse:
    """Read a prompt as a request with it would be; what is wrong in it is said with its place."""
    name = body.prompt_parser or service.settings.prompt_parser
    parser = prompts.get(name)
    try:
        text, tags = extract(body.prompt)
        fragments, is_changing = _fragments(parser, text, body.steps)
    except Malformed as error:
        raise BadInput(f"prompt: {error} (prompt_parser {name}).") from None
    return PromptResponse(prompt_parser=name, fragments=fragments, adapters=[tag.name for tag in tags], is_changing=is_changing)


def _fragments(parser: Parser, text: str, steps: int) -> tuple[list[PromptFragment], bool]:
    parts = parser.parts_of(text, steps)
    fragments = [
        PromptFragment(text=fragment.text, weight=part.weight * fragment.weight)
        for part in parts
        for fragment in parser.fragments_of(part.texts[0])
    ]
    return fragments, not all(part.is_constant for part in parts)
