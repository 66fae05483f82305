"""The routes of stored images, and the inspection of any image's parameters."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import FileResponse
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from foundation.errors import BadInput
from zthumb.server.api.dependencies import JobsDep
from zthumb.server.api.error_responses import not_found_response
from zthumb.server.api.gallery_schemas import Edge, GalleryAdapter, GalleryImage, GalleryPage, ImageChange
from zthumb.server.api.schema_examples import IMAGE_ID
from zthumb.server.api.schemas import InspectResponse
from zthumb.server.queue.background_jobs import NotFound
from zthumb.server.storage.image_index import ImageFilter, ImageIndex
from zthumb.server.storage.image_parameters import decode_base64_image, read_parameters

router = APIRouter(tags=["images"])

ImageId = Annotated[str, Path(max_length=100, examples=[IMAGE_ID])]
_NOT_FOUND = not_found_response()
_FOR_EVER = "private, max-age=31536000, immutable"
"""What is called by an id never changes."""
_MEDIA_TYPES: dict[str, Any] = {"image/png": {}, "image/jpeg": {}, "image/webp": {}}
_BINARY = {"schema": {"type": "string", "contentMediaType": "application/octet-stream"}}
_JSON = {
    "schema": {
        "type": "object",
        "required": ["image"],
        "properties": {"image": {"type": "string", "description": "base64, or a data URL"}},
        "examples": [{"image": "iVBORw0KGgo…"}],
    }
}
_FORM = {
    "schema": {
        "type": "object",
        "required": ["image"],
        "properties": {"image": {"type": "string", "format": "binary", "contentMediaType": "application/octet-stream"}},
        "contentMediaType": "multipart/form-data",
    }
}
_BODY = {"required": True, "content": {"image/png": _BINARY, "application/json": _JSON, "multipart/form-data": _FORM}}


@router.get("/images")
def list_images(
    jobs: JobsDep,
    text: Annotated[str, Query(max_length=200, description="part of the prompt", examples=["star"])] = "",
    model: Annotated[str, Query(max_length=1000, description="the reference to the base", examples=["models/mini-sdxl"])] = "",
    adapter: Annotated[
        str, Query(max_length=64, pattern="^[0-9a-f]*$", description="the beginning of its file's hash", examples=["a07df13f"])
    ] = "",
    rating: Annotated[int, Query(ge=0, le=5, description="at least", examples=[4])] = 0,
    before: Annotated[int | None, Query(ge=1, le=2**62, description="`next` of the page before", examples=[120])] = None,
    limit: Annotated[int, Query(ge=1, le=200, examples=[60])] = 60,
) -> GalleryPage:
    """Return a page of stored images, the newest first."""
    found = jobs.gallery.index.page(ImageFilter(text, model, adapter, rating), before, limit)
    images = [
        GalleryImage(
            id=entry.image,
            job=entry.job,
            seed=entry.seed,
            path=f"/images/{entry.image}",
            prompt=entry.prompt,
            model=entry.model,
            adapters=list(entry.adapters),
            width=entry.width,
            height=entry.height,
            rating=entry.rating,
            created=entry.created,
        )
        for entry in found
    ]
    return GalleryPage(
        images=images,
        models=jobs.gallery.index.models(),
        adapters=_adapters(jobs.gallery.index),
        next=found[-1].number if len(found) == limit else None,
    )


def _adapters(index: ImageIndex) -> list[GalleryAdapter]:
    found = [GalleryAdapter(sha256=used.sha256, path=used.path) for used in index.adapters()]
    return sorted(found, key=lambda adapter: (adapter.path, adapter.sha256))


@router.get("/images/{image}/thumbnail", responses={**_NOT_FOUND, 200: {"content": {"image/webp": {}}}})
def get_thumbnail(image: ImageId, jobs: JobsDep, edge: Edge = 384) -> FileResponse:
    """Return a small version of a stored image."""
    path = jobs.gallery.thumbnail(image, edge)
    if path is None:
        raise _no_image(image)
    return FileResponse(path, headers={"Cache-Control": _FOR_EVER})


@router.get("/images/{image}/parameters", responses=_NOT_FOUND)
def get_parameters(image: ImageId, jobs: JobsDep) -> InspectResponse:
    """Return the parameters in a stored image, its seed as text."""
    path = jobs.gallery.path(image)
    if path is None:
        raise _no_image(image)
    found = read_parameters(path.read_bytes())
    seed = found.parameters.get("seed")
    return InspectResponse(program=found.program, parameters={**found.parameters, "seed": None if seed is None else str(seed)})


@router.patch("/images/{image}", status_code=204, responses=_NOT_FOUND)
def change_image(image: ImageId, body: ImageChange, jobs: JobsDep) -> None:
    """Rate a stored image."""
    if not jobs.gallery.index.rate(image, body.rating):
        raise _no_image(image)


@router.delete("/images/{image}", status_code=204, responses=_NOT_FOUND)
def delete_image(image: ImageId, jobs: JobsDep) -> None:
    """List an image no more. Its file is removed when the server is started a week later or after that."""
    if not jobs.gallery.index.delete(image):
        raise _no_image(image)


@router.post("/images/{image}/restore", status_code=204, responses=_NOT_FOUND)
def restore_image(image: ImageId, jobs: JobsDep) -> None:
    """List a deleted image again."""
    if not jobs.gallery.index.restore(image):
        raise _no_image(image)


def _no_image(image: str) -> NotFound:
    return NotFound(f"there is no image {image!r}.")


@router.get("/images/{image}", responses={**_NOT_FOUND, 200: {"content": _MEDIA_TYPES}})
def get_image(image: ImageId, jobs: JobsDep) -> FileResponse:
    """Return a stored image."""
    path = jobs.gallery.path(image)
    if path is None:
        raise _no_image(image)
    return FileResponse(path, headers={"X-Content-Type-Options": "nosniff", "Cache-Control": _FOR_EVER})


@router.post("/images/inspect", openapi_extra={"requestBody": _BODY})
async def inspect(request: Request) -> InspectResponse:
    """Return the parameters in an image of this server, A1111, ComfyUI, Draw Things, Fooocus, InvokeAI or SwarmUI.

    The body is the file itself, a form with the file in it, or JSON with the file in ``image``, as base64.
    """
    data = await _read_image(request)
    image = await asyncio.to_thread(read_parameters, data)
    return InspectResponse(program=image.program, parameters=image.parameters)


async def _read_image(request: Request) -> bytes:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "multipart/form-data":
        return await _read_form_file(request)
    if media_type == "application/json":
        try:
            body = await request.json()
        except (ValueError, RecursionError):
            raise HTTPException(400, "the body is not JSON") from None
        return decode_base64_image(body.get("image") if isinstance(body, dict) else None)
    return await request.body()


async def _read_form_file(request: Request) -> bytes:
    async with request.form(max_files=1, max_fields=10) as form:
        for value in form.values():
            if isinstance(value, UploadFile):
                return await value.read()
    raise BadInput("the form has no file in it.")
