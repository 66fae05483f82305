"""The routes of stored images, and the inspection of any image's parameters."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.responses import FileResponse
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from foundation.errors import BadInput
from zthumb.server.api.dependencies import JobsDep
from zthumb.server.api.error_responses import not_found_response
from zthumb.server.api.schema_examples import IMAGE_ID
from zthumb.server.api.schemas import InspectResponse
from zthumb.server.queue.background_jobs import NotFound
from zthumb.server.storage.image_parameters import decode_base64_image, read_parameters

router = APIRouter(tags=["images"])

ImageId = Annotated[str, Path(max_length=100, examples=[IMAGE_ID])]
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


@router.get("/images/{image}", responses={**not_found_response(), 200: {"content": _MEDIA_TYPES}})
def get_image(image: ImageId, jobs: JobsDep) -> FileResponse:
    """Return a stored image."""
    path = jobs.gallery.path(image)
    if path is None:
        raise NotFound(f"there is no image {image!r}.")
    return FileResponse(path, headers={"X-Content-Type-Options": "nosniff"})


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
