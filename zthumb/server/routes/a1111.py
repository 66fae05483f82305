"""Images for the many tools that speak AUTOMATIC1111's API (``/sdapi/v1``)."""

import json
from pathlib import PurePosixPath
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from foundation.errors import BadInput
from foundation.plugins import suggestion
from zthumb.a1111 import infotext, samplers
from zthumb.server import examples
from zthumb.server.errors import generating
from zthumb.server.image_parameters import image_of_base64, texts_of
from zthumb.server.routes.dependencies import ServiceDep
from zthumb.server.schemas import MAX_BATCH, GenerateRequest, GenerateResponse, Seed
from zthumb.server.service import Service

router = APIRouter(prefix="/sdapi/v1", tags=["other clients"])

_HARMLESS = (
    *("denoising_strength", "do_not_save_grid", "do_not_save_samples", "hr_scale", "hr_upscaler", "s_noise", "save_images"),
    *("override_settings_restore_afterwards", "subseed"),
)
"""Fields that change no image unless another one does."""

_CHECKPOINT = "sd_model_checkpoint"


class Txt2ImgRequest(BaseModel):
    """A1111's request. What it knows and this server does not is taken, and told in ``info`` as ``warnings``."""

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
    sampler_index: str | None = Field(default=None, max_length=100, description="the same, as older clients call it")
    scheduler: str | None = Field(default=None, max_length=100)
    override_settings: dict[str, Any] | None = Field(default=None, description="sd_model_checkpoint is read: a name, or a preset")
    send_images: bool = True


class Txt2ImgAnswer(BaseModel):
    """Images as base64, the request, and how they were made: JSON in a string."""

    model_config = ConfigDict(json_schema_extra=examples.shown(examples.A1111_TXT2IMG))

    images: list[str]
    parameters: dict[str, Any]
    info: str


class ProgressResponse(BaseModel):
    """How far the image is that is made now; 0 where none is."""

    model_config = ConfigDict(json_schema_extra=examples.shown(examples.A1111_PROGRESS))

    progress: float
    eta_relative: float
    state: dict[str, Any]
    current_image: str | None = None
    textinfo: str | None = None


class Options(BaseModel):
    """A1111's options, of which this server has few, and changes none."""

    model_config = ConfigDict(extra="allow", json_schema_extra=examples.shown(examples.A1111_OPTIONS))

    sd_model_checkpoint: str | None = None


class PngInfoRequest(BaseModel):
    """An image as base64."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"image": "data:image/png;base64,iVBORw0KGgo…"}]})

    image: str


@router.post("/txt2img", responses=generating())
async def txt2img(asked: Txt2ImgRequest, request: Request, service: ServiceDep) -> Txt2ImgAnswer:
    """Images of a prompt in A1111's grammar, adapters in it as <lora:name:weight>."""
    if not asked.send_images:
        raise BadInput("send_images: images are sent or made for nothing: this server keeps none that are asked for here.")
    named, warnings = _model(asked, service)
    wanted = GenerateRequest(
        prompt=asked.prompt,
        # A1111 tells SDXL zeros where the negative prompt is empty, and so does this server where there is none.
        negative_prompt=asked.negative_prompt or None,
        seed=asked.seed,
        steps=asked.steps,
        cfg=asked.cfg_scale,
        width=asked.width,
        height=asked.height,
        batch=_count(asked),
        scheduler=samplers.scheduler_of(asked.sampler_name or asked.sampler_index, asked.scheduler),
        prompt_parser="lpw",
        output_format="png",
        **named,
    )
    made = await service.generate(wanted, request.is_disconnected)
    warnings += [*_passed_over(asked), *made.warnings]
    return Txt2ImgAnswer(
        images=[str(each.b64_json) for each in made.images],
        parameters=asked.model_dump(),
        info=json.dumps(_info(asked, made, warnings)),
    )


@router.get("/options")
def options(service: ServiceDep) -> Options:
    """What of A1111's options is true here."""
    values = {"samples_format": "png", "CLIP_stop_at_last_layers": 1, "sd_vae": "Automatic"}
    return Options(sd_model_checkpoint=_models(service)[0]["title"], **values)


@router.post("/options", responses=examples.answered({"warnings": []}))
def set_options(asked: Options, service: ServiceDep) -> dict[str, list[str]]:
    """Choose the model that is served already; whatever else is asked for is told to have changed nothing."""
    warnings = [f"{name}: this server has no such option; nothing was changed." for name in asked.model_extra or ()]
    if asked.sd_model_checkpoint is not None and not _is_base(asked.sd_model_checkpoint, service):
        raise BadInput(
            f"{_CHECKPOINT}: {asked.sd_model_checkpoint!r} is not served here; there is {_models(service)[0]['title']}."
        )
    return {"warnings": warnings}


@router.get("/sd-models", responses=examples.answered(examples.A1111_MODELS))
def sd_models(service: ServiceDep) -> list[dict[str, Any]]:
    """The base."""
    return _models(service)


@router.get("/samplers", responses=examples.answered([{"name": "Euler a", "aliases": [], "options": {}}]))
def known_samplers() -> list[dict[str, Any]]:
    """The samplers that can be asked for."""
    return [{"name": name, "aliases": [], "options": {}} for name in samplers.names()]


@router.get("/schedulers", responses=examples.answered([{"name": "karras", "label": "Karras", "aliases": None}]))
def known_schedulers() -> list[dict[str, Any]]:
    """The schedules that can be asked for."""
    return [{"name": name.lower(), "label": name, "aliases": None} for name in samplers.schedules()]


@router.get("/loras", responses=examples.answered(examples.A1111_LORAS))
def loras(service: ServiceDep) -> list[dict[str, Any]]:
    """The adapters, by the names that prompts call them."""
    return [
        {"name": name, "alias": name, "path": service.registry.named(path), "metadata": {}}
        for name, path in service.registry.by_id().items()
    ]


@router.get("/progress")
def progress(service: ServiceDep, skip_current_image: Annotated[bool, Query(examples=[True])] = False) -> ProgressResponse:
    """How far the image is that is made now."""
    assert service.queue is not None
    queued = service.queue.current
    steps = queued.resolved.params[0].steps if queued else 0
    done = queued.progress if queued else 0.0
    state = {
        "skipped": False,
        "interrupted": False,
        "job": "txt2img" if queued else "",
        "job_count": service.queue.depth + (queued is not None),
        "sampling_step": round(done * steps),
        "sampling_steps": steps,
    }
    shown = None if queued is None or skip_current_image or queued.preview is None else service.preview(queued)
    seconds = service.queue.seconds_left(queued) if queued else 0.0
    return ProgressResponse(progress=round(done, 4), eta_relative=round(seconds, 2), state=state, current_image=shown)


@router.post(
    "/png-info",
    responses=examples.answered({"info": "a photo of a red star\nSteps: 20, Seed: 7", "items": {}, "parameters": {"Seed": "7"}}),
)
def png_info(asked: PngInfoRequest) -> dict[str, Any]:
    """What an image says it was made from, as A1111 tells it."""
    texts = texts_of(image_of_base64(asked.image))
    text = texts.get(infotext.CHUNK, "")
    return {"info": text, "items": texts, "parameters": infotext.read(text) or {}}


def _count(asked: Txt2ImgRequest) -> int:
    count = asked.batch_size * asked.n_iter
    if count > MAX_BATCH:
        raise BadInput(
            f"batch_size: {asked.batch_size} × n_iter {asked.n_iter} is more than the {MAX_BATCH} images of a request."
        )
    return count


def _model(asked: Txt2ImgRequest, service: Service) -> tuple[dict[str, str], list[str]]:
    """The preset that is asked for as a checkpoint, if it is one; what should be known."""
    settings = asked.override_settings or {}
    warnings = [f"override_settings.{name}: means nothing here and was passed over." for name in settings if name != _CHECKPOINT]
    named = str(settings.get(_CHECKPOINT) or "")
    if named in service.presets:
        return {"preset": named}, warnings
    if named and not _is_base(named, service):
        warnings.append(f"override_settings.{_CHECKPOINT}: {named!r} is not served here; the base made the images.")
    return {}, warnings


def _models(service: Service) -> list[dict[str, Any]]:
    base, sha256 = service.base()
    name, short = PurePosixPath(base).name, sha256[:10]
    hashes = {"hash": short, "sha256": sha256}
    return [{"title": f"{name} [{short}]", "model_name": name, **hashes, "filename": base, "config": None}]


def _is_base(named: str, service: Service) -> bool:
    (model,) = _models(service)
    return named.partition(" [")[0] in (model["model_name"], model["filename"]) or named in (model["hash"], model["sha256"])


def _passed_over(asked: Txt2ImgRequest) -> list[str]:
    """What of a request would change an image of A1111 and changes none here."""
    told = []
    for name, value in (asked.model_extra or {}).items():
        # Clients send every field there is, most of them saying nothing.
        if name in _HARMLESS:
            continue
        if value not in (None, False, "", 0, -1, [], {}) and not (name == "eta" and value == 1):
            told.append(f"{name}: {str(value)[:40]} means nothing here and was passed over. {_hint(name)}".strip())
    return told


def _hint(name: str) -> str:
    known = sorted(Txt2ImgRequest.model_fields)
    found = suggestion(name, known)
    return found if found.startswith("Did you mean") else ""


def _info(asked: Txt2ImgRequest, made: GenerateResponse, warnings: list[str]) -> dict[str, Any]:
    sampler, _ = samplers.shown(made.meta.scheduler)
    seeds, meta = [each.seed for each in made.images], made.meta
    return {
        "prompt": asked.prompt,
        "all_prompts": [asked.prompt] * len(seeds),
        "negative_prompt": asked.negative_prompt or "",
        "all_negative_prompts": [asked.negative_prompt or ""] * len(seeds),
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
