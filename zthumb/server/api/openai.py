"""Routes for clients of other services: OpenAI's images API, and the one that returns an ``image_url``."""

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
from zthumb.diffusion.schedulers import SchedulerName
from zthumb.server.api import schema_examples
from zthumb.server.api.dependencies import BaseUrl, JobsDep, ServiceDep
from zthumb.server.api.error_responses import generation_responses, openai_responses
from zthumb.server.api.schemas import MAX_LORAS, GenerateRequest, LoraRequest, Meta, ScheduleOfGuidance, Seed
from zthumb.server.service import Service
from zthumb.server.settings import OutputFormat
from zthumb.sources.reference import shown

router = APIRouter(tags=["other clients"])

_VARIANTS = ("auto", *backends.names())
_SHARED_FIELDS = {
    "prompt",
    "negative_prompt",
    "seed",
    "steps",
    "cfg",
    "true_cfg_scale",
    "guidance_schedule",
    "embedded_guidance_schedule",
    "step_cache",
    "scheduler",
    "prompt_parser",
    "deterministic",
    "isolated",
    "loras",
}
"""The fields that have the same name and meaning in a request of this server."""


class ImagesRequest(BaseModel):
    """OpenAI's request, followed by fields of this server (``extra_body`` in the Python client).

    OpenAI's fields that have no effect on this server, and unknown fields, are ignored with a warning in the response.
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
        default=None, description="url is a URL on this server; default: b64_json, and for dall-e models the URL as well"
    )
    output_format: OutputFormat | None = Field(default=None, description="default: png")
    quality: str | None = Field(default=None, max_length=40, description="there is only one; use steps and variant instead")
    style: str | None = Field(default=None, max_length=40, description="not supported; describe it in the prompt")
    background: str | None = Field(default=None, max_length=40, description="images are always opaque")
    moderation: str | None = Field(default=None, max_length=40, description="not supported")
    output_compression: int | None = Field(default=None, ge=0, le=100, description="there is only one")
    partial_images: int | None = Field(default=None, ge=0, le=3, description="not supported; a job has previews")
    stream: bool | None = Field(default=None, description="only false: streaming is not supported")
    user: str | None = Field(default=None, max_length=200, description="accepted and not stored")

    negative_prompt: str | None = Field(default=None, max_length=10_000)
    seed: Seed = None
    steps: int | None = Field(default=None, ge=1, le=150)
    cfg: float | None = Field(default=None, ge=0, le=30)
    true_cfg_scale: float | None = Field(default=None, ge=1, le=30)
    guidance_schedule: ScheduleOfGuidance = None
    embedded_guidance_schedule: ScheduleOfGuidance = None
    step_cache: int | None = Field(default=None, ge=1, le=4)
    scheduler: SchedulerName | None = None
    prompt_parser: str | None = Field(default=None, max_length=40)
    deterministic: bool = False
    isolated: bool = False
    loras: list[LoraRequest] | None = Field(default=None, max_length=MAX_LORAS)


_VALUES_WITHOUT_WARNING: Mapping[str, tuple[object, ...]] = MappingProxyType(
    {
        "quality": (None, "auto", "standard"),
        "style": (None,),
        "background": (None, "auto", "opaque"),
        "moderation": (None, "auto", "low"),
        "output_compression": (None, 100),
        "partial_images": (None, 0),
    }
)
"""Fields that have no effect, and the values of each that need no warning because they ask for what is done anyway."""


class ImageData(BaseModel):
    """One image, and the ``seed`` that reproduces it."""

    b64_json: str | None = None
    url: str | None = None
    seed: int


class ImagesResponse(BaseModel):
    """OpenAI's response, with ``meta``: how the images were generated."""

    model_config = ConfigDict(json_schema_extra=schema_examples.of_schema(schema_examples.OPENAI))

    created: int = Field(description="seconds since 1970")
    data: list[ImageData]
    output_format: OutputFormat
    size: str
    meta: Meta
    warnings: list[str]


class ModelData(BaseModel):
    """A name that ``model`` accepts."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "zthumb"


class ModelList(BaseModel):
    """The names that ``model`` accepts, in the form of OpenAI's list of models."""

    model_config = ConfigDict(json_schema_extra=schema_examples.of_schema(schema_examples.OPENAI_MODELS))

    object: Literal["list"] = "list"
    data: list[ModelData]


@router.get("/v1/models", responses=openai_responses())
def models(service: ServiceDep) -> ModelList:
    """Return the names that a request's model accepts: the base, its variants, and presets."""
    return ModelList(data=[ModelData(id=name) for name in _model_names(service)])


@router.post("/v1/images/generations", responses=openai_responses())
async def images(body: ImagesRequest, request: Request, service: ServiceDep, jobs: JobsDep, base_url: BaseUrl) -> ImagesResponse:
    """Generate images through OpenAI's images API."""
    if body.stream:
        raise BadInput("stream: streaming is not supported; leave it out, or follow a job (POST /jobs).")
    model_fields, warnings = _model_fields_or_warning(body.model, service)
    width, height = _parse_size(body.size)
    output_format = body.output_format or service.settings.output_format
    generate_request = GenerateRequest.model_validate(
        {
            **body.model_dump(include=_SHARED_FIELDS),
            "width": width,
            "height": height,
            "batch": body.n or 1,
            **model_fields,
            "output_format": output_format,
        }
    )
    resolved, result = await service.run(generate_request, request.is_disconnected)
    is_dall_e = body.response_format is None and (body.model or "").startswith("dall-e")
    stored = None
    if body.response_format == "url" or is_dall_e:
        stored_request = generate_request.model_copy(update={"response_format": "url"})
        stored = await asyncio.to_thread(jobs.save_result, stored_request, resolved, result, base_url)
    response = stored if body.response_format == "url" else await asyncio.to_thread(service.to_response, resolved, result)
    assert response is not None
    urls = [image.url for image in stored.images] if stored else [None] * len(response.images)
    return ImagesResponse(
        created=int(time.time()),
        data=[
            ImageData(b64_json=image.b64_json, url=url, seed=image.seed) for image, url in zip(response.images, urls, strict=True)
        ],
        output_format=output_format,
        size=f"{response.meta.width}x{response.meta.height}",
        meta=response.meta,
        warnings=[*warnings, *_ignored_field_warnings(body), *response.warnings],
    )


def _ignored_field_warnings(body: ImagesRequest) -> list[str]:
    """Return a warning for each field of a request that has no effect."""
    fields = ImagesRequest.model_fields
    warnings = [
        f"{name}: {getattr(body, name)!r} has no effect and was ignored: {fields[name].description}."
        for name, silent_values in _VALUES_WITHOUT_WARNING.items()
        if getattr(body, name) not in silent_values
    ]
    known = sorted(fields)
    return warnings + [f"{name}: unknown field, ignored. {suggestion(name, known)}" for name in body.model_extra or ()]


class ImageUrlRequest(BaseModel):
    """A request for one image, with the field names of diffusers."""

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
    """The image as a data URL, and what reproduces it."""

    model_config = ConfigDict(json_schema_extra=schema_examples.of_schema(schema_examples.IMAGE_URL))

    image_url: str
    model: str
    width: int
    height: int
    seed: int
    num_inference_steps: int


@router.post("/api/v1/images/generate", responses=generation_responses())
async def image_url(body: ImageUrlRequest, request: Request, service: ServiceDep) -> ImageUrlResponse:
    """Generate one image and return it as a data URL."""
    generate_request = GenerateRequest(
        prompt=body.prompt,
        negative_prompt=body.negative_prompt,
        width=body.width,
        height=body.height,
        seed=body.seed,
        steps=body.num_inference_steps,
        cfg=body.guidance_scale,
        output_format="png",
        **_model_fields(body.model, service),
    )
    response = await service.generate(generate_request, request.is_disconnected)
    return ImageUrlResponse(
        image_url=_data_url(response.images[0].b64_json, "png"),
        model=response.meta.base,
        width=response.meta.width,
        height=response.meta.height,
        seed=response.images[0].seed,
        num_inference_steps=response.meta.steps,
    )


def _model_names(service: Service) -> list[str]:
    """Return the names that a client's ``model`` accepts."""
    return [_base_name(service), *_VARIANTS, *service.presets]


def _base_name(service: Service) -> str:
    """Return the last part of the base's path or URL, without secrets in it."""
    return shown(service.settings.model).rsplit("/", 1)[-1]


def _model_fields(model: str | None, service: Service) -> dict[str, str]:
    """Return the fields of a request that a client's ``model`` stands for; ``BadInput`` for an unknown name."""
    if model is not None and model in _VARIANTS:
        return {"variant": model}
    if model is not None and model in service.presets:
        return {"preset": model}
    if model in (None, "", service.settings.model, _base_name(service)):
        return {}
    raise BadInput(f"model: {model!r} is not served here; available are {', '.join(_model_names(service))}.")


def _model_fields_or_warning(model: str | None, service: Service) -> tuple[dict[str, str], list[str]]:
    """Do the same for clients that always send a name of OpenAI's: an unknown name means the base, with a warning."""
    try:
        return _model_fields(model, service), []
    except BadInput as error:
        return {}, [f"{error} The base was used instead."]


def _parse_size(size: str | None) -> tuple[int | None, int | None]:
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
    assert b64_json is not None, "the default response format has the image in it"
    return f"data:image/{output_format};base64,{b64_json}"
