"""Pictures for clients that were written for others: OpenAI's images API, and the one with an ``image_url`` in its answer."""

import time
from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from foundation.errors import BadInput
from zthumb import backends
from zthumb.painting.schedulers import SchedulerName
from zthumb.server import examples
from zthumb.server.errors import for_openai, painting
from zthumb.server.routes.asking import Asked
from zthumb.server.schemas import MAX_LORAS, MAX_SEED, GenerateRequest, LoraRequest, Meta
from zthumb.server.service import Service
from zthumb.server.settings import OutputFormat

router = APIRouter(tags=["other clients"])

_VARIANTS = ("auto", *backends.names())
_ALIKE = {"prompt", "negative_prompt", "seed", "steps", "cfg", "scheduler", "prompt_parser", "deterministic", "isolated", "loras"}
"""The fields that are the same here and there."""


class ImagesRequest(BaseModel):
    """What OpenAI's clients send, and below it what this server understands besides (``extra_body`` in the Python client)."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"prompt": "a photo of a red star", "n": 2, "response_format": "b64_json"}]},
    )

    prompt: str = Field(max_length=10_000)
    model: str | None = Field(default=None, max_length=200, description="a variant, a preset, or the base's name; default: auto")
    n: int | None = Field(default=None, ge=1, le=10, description="default: 1")
    size: str | None = Field(default=None, description="auto, or width and height in pixels as 512x768")
    response_format: Literal["b64_json", "url"] | None = Field(default=None, description="url is a data URL; default: b64_json")
    output_format: OutputFormat | None = Field(default=None, description="default: png")
    quality: Literal["auto"] | None = Field(default=None, description="there is one: take steps and variant instead")
    background: Literal["auto", "opaque"] | None = None
    user: str | None = Field(default=None, max_length=200, description="taken and not kept")

    negative_prompt: str | None = Field(default=None, max_length=10_000)
    seed: int | None = Field(default=None, ge=0, le=MAX_SEED)
    steps: int | None = Field(default=None, ge=1, le=150)
    cfg: float | None = Field(default=None, ge=0, le=30)
    scheduler: SchedulerName | None = None
    prompt_parser: str | None = Field(default=None, max_length=40)
    deterministic: bool = False
    isolated: bool = False
    loras: list[LoraRequest] | None = Field(default=None, max_length=MAX_LORAS)


class ImageData(BaseModel):
    """One picture; ``seed`` makes it again."""

    b64_json: str | None = None
    url: str | None = None
    seed: int


class ImagesAnswer(BaseModel):
    """What OpenAI's clients read, and ``meta``: how the pictures were made."""

    model_config = ConfigDict(json_schema_extra=examples.shown(examples.OPENAI))

    created: int = Field(description="seconds since 1970")
    data: list[ImageData]
    output_format: OutputFormat
    size: str
    meta: Meta
    warnings: list[str]


@router.post("/v1/images/generations", responses=for_openai())
async def images(asked: ImagesRequest, request: Request, service: Asked) -> ImagesAnswer:
    """OpenAI's images API."""
    width, height = _size(asked.size)
    output_format = asked.output_format or service.settings.output_format
    wanted = GenerateRequest.model_validate(
        {
            **asked.model_dump(include=_ALIKE),
            "width": width,
            "height": height,
            "batch": asked.n or 1,
            **_meant(asked.model, service),
            "output_format": output_format,
        }
    )
    made = await service.generate(wanted, request.is_disconnected)
    is_url = asked.response_format == "url"
    return ImagesAnswer(
        created=int(time.time()),
        data=[
            ImageData(url=_data_url(each.b64_json, output_format), seed=each.seed)
            if is_url
            else ImageData(b64_json=each.b64_json, seed=each.seed)
            for each in made.images
        ],
        output_format=output_format,
        size=f"{made.meta.width}x{made.meta.height}",
        meta=made.meta,
        warnings=made.warnings,
    )


class ImageUrlRequest(BaseModel):
    """One picture, in the words of diffusers."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"prompt": "a photo of a red star", "seed": 7}]})

    prompt: str = Field(max_length=10_000)
    negative_prompt: str | None = Field(default=None, max_length=10_000)
    model: str | None = Field(default=None, max_length=200, description="a variant, a preset, or the base's name; default: auto")
    width: int | None = Field(default=None, ge=64, le=2048, multiple_of=8)
    height: int | None = Field(default=None, ge=64, le=2048, multiple_of=8)
    seed: int | None = Field(default=None, ge=0, le=MAX_SEED)
    num_inference_steps: int | None = Field(default=None, ge=1, le=150)
    guidance_scale: float | None = Field(default=None, ge=0, le=30)


class ImageUrlAnswer(BaseModel):
    """The picture as a data URL, and what makes it again."""

    model_config = ConfigDict(json_schema_extra=examples.shown(examples.IMAGE_URL))

    image_url: str
    model: str
    width: int
    height: int
    seed: int
    num_inference_steps: int


@router.post("/api/v1/images/generate", responses=painting())
async def image_url(asked: ImageUrlRequest, request: Request, service: Asked) -> ImageUrlAnswer:
    """One picture as a data URL."""
    wanted = GenerateRequest(
        prompt=asked.prompt,
        negative_prompt=asked.negative_prompt,
        width=asked.width,
        height=asked.height,
        seed=asked.seed,
        steps=asked.num_inference_steps,
        cfg=asked.guidance_scale,
        output_format="png",
        **_meant(asked.model, service),
    )
    made = await service.generate(wanted, request.is_disconnected)
    return ImageUrlAnswer(
        image_url=_data_url(made.images[0].b64_json, "png"),
        model=made.meta.base,
        width=made.meta.width,
        height=made.meta.height,
        seed=made.images[0].seed,
        num_inference_steps=made.meta.steps,
    )


def _meant(model: str | None, service: Service) -> dict[str, str]:
    """What a client's ``model`` means, as fields of a request."""
    if model is not None and model in _VARIANTS:
        return {"variant": model}
    if model is not None and model in service.presets:
        return {"preset": model}
    base = service.settings.model
    if model in (None, base, base.rsplit("/", 1)[-1]):
        return {}
    known = [*_VARIANTS, *service.presets, base.rsplit("/", 1)[-1]]
    raise BadInput(f"model: {model!r} is not served here; there are {', '.join(known)}.")


def _size(size: str | None) -> tuple[int | None, int | None]:
    if size in (None, "auto"):
        return None, None
    assert size is not None
    width, _, height = size.partition("x")
    if not (width.isascii() and width.isdigit() and height.isascii() and height.isdigit()):
        raise BadInput(f"size: {size!r} is neither auto nor width and height as in 512x768.")
    edges = int(width[:5]), int(height[:5])
    if any(not 64 <= edge <= 2048 or edge % 8 for edge in edges):
        raise BadInput(f"size: {size}: each edge must be 64 to 2048 pixels, in multiples of 8.")
    return edges


def _data_url(b64_json: str | None, output_format: OutputFormat) -> str:
    assert b64_json is not None, "what was asked for without another form"
    return f"data:image/{output_format};base64,{b64_json}"
