"""Routes for the many tools that use AUTOMATIC1111's API (``/sdapi/v1``)."""

import json
from pathlib import PurePosixPath
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from foundation.errors import BadInput
from foundation.plugins import suggestion
from zthumb.server.api import schema_examples
from zthumb.server.api.dependencies import ServiceDep
from zthumb.server.api.error_responses import generation_responses
from zthumb.server.api.schemas import MAX_BATCH, GenerateRequest, GenerateResponse, Seed
from zthumb.server.service import Service
from zthumb.server.storage import a1111_samplers, infotext
from zthumb.server.storage.image_parameters import decode_base64_image, read_texts

router = APIRouter(prefix="/sdapi/v1", tags=["other clients"])

_IGNORED_SILENTLY = (
    *("denoising_strength", "do_not_save_grid", "do_not_save_samples", "hr_scale", "hr_upscaler", "s_noise", "save_images"),
    *("override_settings_restore_afterwards", "subseed"),
)
"""Fields that have an effect only together with another field, which causes the warning."""

_CHECKPOINT_OPTION = "sd_model_checkpoint"


class Txt2ImgRequest(BaseModel):
    """A1111's request. Its other fields are accepted and ignored, with ``warnings`` in the response's ``info``."""

    model_config = ConfigDict(
        extra="allow", json_schema_extra={"examples": [{"prompt": "a photo of a (red:1.2) star", "steps": 20, "seed": 7}]}
    )

    prompt: str = Field(default="", max_length=10_000)
    negative_prompt: str | None = Field(default=None, max_length=10_000)
    seed: Seed = None
    steps: int | None = Field(default=None, ge=1, le=150)
    cfg_scale: float | None = Field(default=None, ge=0, le=30)
    width: int | None = Field(default=None, ge=64, le=2048, multiple_of=8, description="default: the base's own")
    height: int | None = Field(default=None, ge=64, le=2048, multiple_of=8, description="default: the base's own")
    batch_size: int = Field(default=1, ge=1, le=MAX_BATCH)
    n_iter: int = Field(default=1, ge=1, le=MAX_BATCH)
    sampler_name: str | None = Field(default=None, max_length=100)
    sampler_index: str | None = Field(default=None, max_length=100, description="the name of sampler_name in older clients")
    scheduler: str | None = Field(default=None, max_length=100)
    override_settings: dict[str, Any] | None = Field(
        default=None, description="only sd_model_checkpoint is used: the base's name, or a preset"
    )
    send_images: bool = True


class Txt2ImgResponse(BaseModel):
    """Images as base64, the request, and in ``info`` how they were generated, as JSON in a string."""

    model_config = ConfigDict(json_schema_extra=schema_examples.of_schema(schema_examples.A1111_TXT2IMG))

    images: list[str]
    parameters: dict[str, Any]
    info: str


class ProgressResponse(BaseModel):
    """The progress of the request that is being generated; 0 if there is none."""

    model_config = ConfigDict(json_schema_extra=schema_examples.of_schema(schema_examples.A1111_PROGRESS))

    progress: float
    eta_relative: float
    state: dict[str, Any]
    current_image: str | None = None
    textinfo: str | None = None


class Options(BaseModel):
    """A1111's options, of which this server has few, all of them read-only."""

    model_config = ConfigDict(extra="allow", json_schema_extra=schema_examples.of_schema(schema_examples.A1111_OPTIONS))

    sd_model_checkpoint: str | None = None


class PngInfoRequest(BaseModel):
    """An image as base64."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"image": "data:image/png;base64,iVBORw0KGgo…"}]})

    image: str


@router.post("/txt2img", responses=generation_responses())
async def txt2img(body: Txt2ImgRequest, request: Request, service: ServiceDep) -> Txt2ImgResponse:
    """Generate images of a prompt in A1111's syntax, with adapters in it as <lora:name:weight>."""
    if not body.send_images:
        raise BadInput("send_images: must be true, because this endpoint stores no images.")
    preset_field, warnings = _preset_field(body, service)
    generate_request = GenerateRequest(
        prompt=body.prompt,
        # A1111 conditions SDXL on zeros if the negative prompt is empty; this server does so if there is none.
        negative_prompt=body.negative_prompt or None,
        seed=body.seed,
        steps=body.steps,
        cfg=body.cfg_scale,
        width=body.width,
        height=body.height,
        batch=_image_count(body),
        scheduler=a1111_samplers.scheduler_of(body.sampler_name or body.sampler_index, body.scheduler),
        prompt_parser="lpw",
        output_format="png",
        **preset_field,
    )
    response = await service.generate(generate_request, request.is_disconnected)
    warnings += [*_ignored_field_warnings(body), *response.warnings]
    return Txt2ImgResponse(
        images=[str(image.b64_json) for image in response.images],
        parameters=body.model_dump(),
        info=json.dumps(_info(body, response, warnings)),
    )


@router.get("/options")
def options(service: ServiceDep) -> Options:
    """Return those of A1111's options that this server has."""
    values = {"samples_format": "png", "CLIP_stop_at_last_layers": 1, "sd_vae": "Automatic"}
    return Options(sd_model_checkpoint=_models(service)[0]["title"], **values)


@router.post("/options", responses=schema_examples.of_response({"warnings": []}))
def set_options(body: Options, service: ServiceDep) -> dict[str, list[str]]:
    """Accept the model that is served already; any other option changes nothing and gives a warning."""
    warnings = [f"{name}: this server has no such option; nothing was changed." for name in body.model_extra or ()]
    if body.sd_model_checkpoint is not None and not _is_base(body.sd_model_checkpoint, service):
        raise BadInput(
            f"{_CHECKPOINT_OPTION}: {body.sd_model_checkpoint!r} is not served here; available is {_models(service)[0]['title']}."
        )
    return {"warnings": warnings}


@router.get("/sd-models", responses=schema_examples.of_response(schema_examples.A1111_MODELS))
def sd_models(service: ServiceDep) -> list[dict[str, Any]]:
    """Return the base model."""
    return _models(service)


@router.get("/samplers", responses=schema_examples.of_response([{"name": "Euler a", "aliases": [], "options": {}}]))
def list_samplers() -> list[dict[str, Any]]:
    """Return the names that ``sampler_name`` accepts."""
    return [{"name": name, "aliases": [], "options": {}} for name in a1111_samplers.names()]


@router.get("/schedulers", responses=schema_examples.of_response([{"name": "karras", "label": "Karras", "aliases": None}]))
def list_schedulers() -> list[dict[str, Any]]:
    """Return the names that ``scheduler`` accepts."""
    return [{"name": name.lower(), "label": name, "aliases": None} for name in a1111_samplers.schedules()]


@router.get("/loras", responses=schema_examples.of_response(schema_examples.A1111_LORAS))
def loras(service: ServiceDep) -> list[dict[str, Any]]:
    """Return the adapters by the names that a prompt accepts."""
    return [
        {"name": name, "alias": name, "path": service.registry.public_path(path), "metadata": {}}
        for name, path in service.registry.paths_by_id().items()
    ]


@router.get("/progress")
def progress(service: ServiceDep, skip_current_image: Annotated[bool, Query(examples=[True])] = False) -> ProgressResponse:
    """Return the progress of the request that is being generated."""
    assert service.queue is not None
    queued = service.queue.current
    steps = queued.resolved.params[0].steps if queued else 0
    fraction = queued.progress if queued else 0.0
    state = {
        "skipped": False,
        "interrupted": False,
        "job": "txt2img" if queued else "",
        "job_count": service.queue.depth + (queued is not None),
        "sampling_step": round(fraction * steps),
        "sampling_steps": steps,
    }
    preview = None if queued is None or skip_current_image or queued.preview is None else service.preview(queued)
    seconds = service.queue.seconds_left(queued) if queued else 0.0
    return ProgressResponse(progress=round(fraction, 4), eta_relative=round(seconds, 2), state=state, current_image=preview)


@router.post(
    "/png-info",
    responses=schema_examples.of_response(
        {"info": "a photo of a red star\nSteps: 20, Seed: 7", "items": {}, "parameters": {"Seed": "7"}}
    ),
)
def png_info(body: PngInfoRequest) -> dict[str, Any]:
    """Return the parameters in an image, in A1111's form."""
    texts = read_texts(decode_base64_image(body.image))
    text = texts.get(infotext.CHUNK, "")
    return {"info": text, "items": texts, "parameters": infotext.read(text) or {}}


def _image_count(body: Txt2ImgRequest) -> int:
    count = body.batch_size * body.n_iter
    if count > MAX_BATCH:
        raise BadInput(f"batch_size: {body.batch_size} × n_iter {body.n_iter} is more than the maximum of {MAX_BATCH} images.")
    return count


def _preset_field(body: Txt2ImgRequest, service: Service) -> tuple[dict[str, str], list[str]]:
    """Return the ``preset`` field if the requested checkpoint is the name of a preset, and warnings."""
    settings = body.override_settings or {}
    warnings = [f"override_settings.{name}: has no effect and was ignored." for name in settings if name != _CHECKPOINT_OPTION]
    checkpoint = str(settings.get(_CHECKPOINT_OPTION) or "")
    if checkpoint in service.presets:
        return {"preset": checkpoint}, warnings
    if checkpoint and not _is_base(checkpoint, service):
        warnings.append(f"override_settings.{_CHECKPOINT_OPTION}: {checkpoint!r} is not served here; the base was used instead.")
    return {}, warnings


def _models(service: Service) -> list[dict[str, Any]]:
    base, sha256 = service.base()
    name, short = PurePosixPath(base).name, sha256[:10]
    hashes = {"hash": short, "sha256": sha256}
    return [{"title": f"{name} [{short}]", "model_name": name, **hashes, "filename": base, "config": None}]


def _is_base(checkpoint: str, service: Service) -> bool:
    (model,) = _models(service)
    names, hashes = (model["model_name"], model["filename"]), (model["hash"], model["sha256"])
    return checkpoint.partition(" [")[0] in names or checkpoint in hashes


def _ignored_field_warnings(body: Txt2ImgRequest) -> list[str]:
    """Return a warning for each field of a request that would change A1111's image and has no effect here."""
    warnings = []
    for name, value in (body.model_extra or {}).items():
        # Clients send every field of the API, most of them with a value that changes nothing.
        if name in _IGNORED_SILENTLY:
            continue
        if value not in (None, False, "", 0, -1, [], {}) and not (name == "eta" and value == 1):
            warnings.append(f"{name}: {str(value)[:40]} has no effect and was ignored. {_hint(name)}".strip())
    return warnings


def _hint(name: str) -> str:
    known = sorted(Txt2ImgRequest.model_fields)
    hint = suggestion(name, known)
    return hint if hint.startswith("Did you mean") else ""


def _info(body: Txt2ImgRequest, response: GenerateResponse, warnings: list[str]) -> dict[str, Any]:
    sampler, _ = a1111_samplers.shown(response.meta.scheduler)
    seeds, meta = [image.seed for image in response.images], response.meta
    return {
        "prompt": body.prompt,
        "all_prompts": [body.prompt] * len(seeds),
        "negative_prompt": body.negative_prompt or "",
        "all_negative_prompts": [body.negative_prompt or ""] * len(seeds),
        "seed": seeds[0],
        "all_seeds": seeds,
        "width": meta.width,
        "height": meta.height,
        "sampler_name": sampler,
        "cfg_scale": meta.cfg,
        "steps": meta.steps,
        "batch_size": len(seeds),
        "sd_model_name": PurePosixPath(meta.base).name,
        "index_of_first_image": 0,
        "warnings": warnings,
    }
