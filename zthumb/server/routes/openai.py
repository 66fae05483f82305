"""Images for clients that were written for others: OpenAI's images API, and the one with an ``image_url`` in its answer."""

import asyncio
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from foundation.errors import BadInput
from foundation.plugins import suggestion
from zthumb import backends
from zthumb.generation.schedulers import SchedulerName
from zthumb.server import examples
from zthumb.server.errors import for_openai, generating
from zthumb.server.routes.dependencies import Address, JobsDep, ServiceDep
from zthumb.server.schemas import MAX_LORAS, GenerateRequest, LoraRequest, Meta, Seed
from zthumb.server.service import Service
from zthumb.server.settings import OutputFormat
from zthumb.sources.reference import shown

router = APIRouter(tags=["other clients"])

_VARIANTS = ("auto", *backends.names())
_ALIKE = {"prompt", "negative_prompt", "seed", "steps", "cfg", "scheduler", "prompt_parser", "deterministic", "isolated", "loras"}
"""The fields that are the same here and there."""


class ImagesRequest(BaseModel):
    """What OpenAI's clients send, and below it what this server understands besides (``extra_body`` in the Python client).

    What OpenAI's models know and this server does not is taken and told in the answer's warnings; so is a field nobody knows.
    """

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={"examples": [{"prompt": "a photo of a red star", "n": 2, "response_format": "b64_json"}]},
    )

    prompt: str = Field(max_length=10_000)
    model: str | None = Field(default=None, max_length=200, description="a variant, a preset, or the base's name; default: auto")
    n: int | None = Field(default=None, ge=1, le=10, description="default: 1")
    size: str | None = Field(default=None, description="auto, or width and height in pixels as 512x768")
    response_format: Literal["b64_json", "url"] | None = Field(
        default=None, description="url is an address of this server; default: b64_json, and the address besides for dall-e models"
    )
    output_format: OutputFormat | None = Field(default=None, description="default: png")
    quality: str | None = Field(default=None, max_length=40, description="there is one: take steps and variant instead")
    style: str | None = Field(default=None, max_length=40, description="there is none: say it in the prompt")
    background: str | None = Field(default=None, max_length=40, description="images are opaque")
    moderation: str | None = Field(default=None, max_length=40, description="there is none")
    output_compression: int | None = Field(default=None, ge=0, le=100, description="there is one")
    partial_images: int | None = Field(default=None, ge=0, le=3, description="there are none: a job has previews")
    stream: bool | None = Field(default=None, description="false: images are answered whole")
    user: str | None = Field(default=None, max_length=200, description="taken and not kept")

    negative_prompt: str | None = Field(default=None, max_length=10_000)
    seed: Seed = None
    steps: int | None = Field(default=None, ge=1, le=150)
    cfg: float | None = Field(default=None, ge=0, le=30)
    scheduler: SchedulerName | None = None
    prompt_parser: str | None = Field(default=None, max_length=40)
    deterministic: bool = False
    isolated: bool = False
    loras: list[LoraRequest] | None = Field(default=None, max_length=MAX_LORAS)


_AS_USUAL: Mapping[str, tuple[object, ...]] = MappingProxyType(
    {
        "quality": (None, "auto", "standard"),
        "style": (None,),
        "background": (None, "auto", "opaque"),
        "moderation": (None, "auto", "low"),
        "output_compression": (None, 100),
        "partial_images": (None, 0),
    }
)
"""Fields that mean nothing here, and the values that ask for what is done anyway."""


class ImageData(BaseModel):
    """One image; ``seed`` makes it again."""

    b64_json: str | None = None
    url: str | None = None
    seed: int


class ImagesResponse(BaseModel):
    """What OpenAI's clients read, and ``meta``: how the images were made."""

    model_config = ConfigDict(json_schema_extra=examples.shown(examples.OPENAI))

    created: int = Field(description="seconds since 1970")
    data: list[ImageData]
    output_format: OutputFormat
    size: str
    meta: Meta
    warnings: list[str]


class ModelData(BaseModel):
    """Something that ``model`` may name."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "zthumb"


class ModelList(BaseModel):
    """All of them, as OpenAI's clients list models."""

    model_config = ConfigDict(json_schema_extra=examples.shown(examples.OPENAI_MODELS))

    object: Literal["list"] = "list"
    data: list[ModelData]


@router.get("/v1/models", responses=for_openai())
def models(service: ServiceDep) -> ModelList:
    """What a request's model may name: the base, its variants, and presets."""
    return ModelList(data=[ModelData(id=name) for name in _known(service)])


@router.post("/v1/images/generations", responses=for_openai())
async def images(asked: ImagesRequest, request: Request, service: ServiceDep, jobs: JobsDep, address: Address) -> ImagesResponse:
    """OpenAI's images API."""
    if asked.stream:
        raise BadInput("stream: images are answered whole here; leave it out, or follow a job (POST /jobs).")
    named, warnings = _meant_or_told(asked.model, service)
    width, height = _size(asked.size)
    output_format = asked.output_format or service.settings.output_format
    wanted = GenerateRequest.model_validate(
        {
            **asked.model_dump(include=_ALIKE),
            "width": width,
            "height": height,
            "batch": asked.n or 1,
            **named,
            "output_format": output_format,
        }
    )
    resolved, result = await service.run(wanted, request.is_disconnected)
    is_dall_e = asked.response_format is None and (asked.model or "").startswith("dall-e")
    kept = None
    if asked.response_format == "url" or is_dall_e:
        kept = await asyncio.to_thread(jobs.keep, wanted.model_copy(update={"response_format": "url"}), resolved, result, address)
    made = kept if asked.response_format == "url" else await asyncio.to_thread(service.answer, resolved, result)
    assert made is not None
    urls = [each.url for each in kept.images] if kept else [None] * len(made.images)
    return ImagesResponse(
        created=int(time.time()),
        data=[ImageData(b64_json=each.b64_json, url=url, seed=each.seed) for each, url in zip(made.images, urls, strict=True)],
        output_format=output_format,
        size=f"{made.meta.width}x{made.meta.height}",
        meta=made.meta,
        warnings=[*warnings, *_passed_over(asked), *made.warnings],
    )


def _passed_over(asked: ImagesRequest) -> list[str]:
    """What of a request means nothing here, a sentence each."""
    fields = ImagesRequest.model_fields
    told = [
        f"{name}: {getattr(asked, name)!r} means nothing here and was passed over: {fields[name].description}."
        for name, usual in _AS_USUAL.items()
        if getattr(asked, name) not in usual
    ]
    known = sorted(fields)
    return told + [f"{name}: is no field here and was passed over. {suggestion(name, known)}" for name in asked.model_extra or ()]


class ImageUrlRequest(BaseModel):
    """One image, in the words of diffusers."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"prompt": "a photo of a red star", "seed": 7}]})

    prompt: str = Field(max_length=10_000)
    negative_prompt: str | None = Field(default=None, max_length=10_000)
    model: str | None = Field(default=None, max_length=200, description="a variant, a preset, or the base's name; default: auto")
    width: int | None = Field(default=None, ge=64, le=2048, multiple_of=8)
    height: int | None = Field(default=None, ge=64, le=2048, multiple_of=8)
    seed: Seed = None
    num_inference_steps: int | None = Field(default=None, ge=1, le=150)
    guidance_scale: float | None = Field(default=None, ge=0, le=30)


class ImageUrlResponse(BaseModel):
    """The image as a data URL, and what makes it again."""

    model_config = ConfigDict(json_schema_extra=examples.shown(examples.IMAGE_URL))

    image_url: str
    model: str
    width: int
    height: int
    seed: int
    num_inference_steps: int


@router.post("/api/v1/images/generate", responses=generating())
async def image_url(asked: ImageUrlRequest, request: Request, service: ServiceDep) -> ImageUrlResponse:
    """One image as a data URL."""
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
    return ImageUrlResponse(
        image_url=_data_url(made.images[0].b64_json, "png"),
        model=made.meta.base,
        width=made.meta.width,
        height=made.meta.height,
        seed=made.images[0].seed,
        num_inference_steps=made.meta.steps,
    )


def _known(service: Service) -> list[str]:
    """What a client's ``model`` may name."""
    return [_name_of_base(service), *_VARIANTS, *service.presets]


def _name_of_base(service: Service) -> str:
    """The end of the base's path or address, without what may be secret in it."""
    return shown(service.settings.model).rsplit("/", 1)[-1]


def _meant(model: str | None, service: Service) -> dict[str, str]:
    """What a client's ``model`` means, as fields of a request; ``BadInput`` where it names nothing here."""
    if model is not None and model in _VARIANTS:
        return {"variant": model}
    if model is not None and model in service.presets:
        return {"preset": model}
    if model in (None, "", service.settings.model, _name_of_base(service)):
        return {}
    raise BadInput(f"model: {model!r} is not served here; there are {', '.join(_known(service))}.")


def _meant_or_told(model: str | None, service: Service) -> tuple[dict[str, str], list[str]]:
    """The same for clients that cannot be told another name: then the base makes the images, and a warning says so."""
    try:
        return _meant(model, service), []
    except BadInput as error:
        return {}, [f"{error} The base made the images."]


def _size(size: str | None) -> tuple[int | None, int | None]:
    if size in (None, "", "auto"):
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
