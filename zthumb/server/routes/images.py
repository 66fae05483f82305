"""Images that are kept, and what any image says it was made from."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.responses import FileResponse
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from foundation.errors import BadInput
from zthumb.server.errors import missing
from zthumb.server.examples import IMAGE
from zthumb.server.image_parameters import image_of_base64, parameters_of
from zthumb.server.jobs import NotFound
from zthumb.server.routes.dependencies import JobsDep
from zthumb.server.schemas import InspectResponse

router = APIRouter(tags=["images"])

ImageId = Annotated[str, Path(max_length=100, examples=[IMAGE])]
_KINDS: dict[str, Any] = {"image/png": {}, "image/jpeg": {}, "image/webp": {}}
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


@router.get("/images/{image}", responses={**missing(), 200: {"content": _KINDS}})
def image(image: ImageId, jobs: JobsDep) -> FileResponse:
    """An image that is kept."""
    path = jobs.gallery.path(image)
    if path is None:
        raise NotFound(f"no image {image!r} is known here.")
    return FileResponse(path, headers={"X-Content-Type-Options": "nosniff"})


@router.post("/images/inspect", openapi_extra={"requestBody": _BODY})
async def inspect(request: Request) -> InspectResponse:
    """What an image was made from: of this server, A1111, ComfyUI, Draw Things, Fooocus, InvokeAI or SwarmUI.

    The body is the file itself, a form with the file in it, or JSON with the file in ``image``, as base64.
    """
    data = await _image_of(request)
    found = await asyncio.to_thread(parameters_of, data)
    return InspectResponse(program=found.program, parameters=found.parameters)


async def _image_of(request: Request) -> bytes:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await _in_form(request)
    if kind == "application/json":
        try:
            told = await request.json()
        except (ValueError, RecursionError):
            raise HTTPException(400, "the body is no JSON") from None
        return image_of_base64(told.get("image") if isinstance(told, dict) else None)
    return await request.body()


async def _in_form(request: Request) -> bytes:
    async with request.form(max_files=1, max_fields=10) as form:
        for value in form.values():
            if isinstance(value, UploadFile):
                return await value.read()
    raise BadInput("the form has no file in it.")
