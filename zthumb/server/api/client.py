"""The web client: its page at every address of its own, and its files, which were built before."""

import gzip
import json
import mimetypes
import secrets
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Header
from fastapi.responses import FileResponse, HTMLResponse, Response
from starlette.exceptions import HTTPException

from zthumb.server.api.dependencies import RootPath

router = APIRouter(include_in_schema=False)

DIST = Path(__file__).parents[2] / "client" / "dist"
PAGES = ("/", "/compare", "/train", "/gallery", "/library", "/system")
"""The addresses that the client shows a page at."""
FILES = "/assets/"
_NONCE, _BASE = "__NONCE__", "__BASE__"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; img-src 'self' data: blob:; connect-src 'self'; "
    "font-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'self'; frame-ancestors 'none'"
)


def _page(root_path: RootPath) -> Response:
    """The client's page, for the address prefix of the proxy in front of this server."""
    index = DIST / "index.html"
    if not index.is_file():
        raise HTTPException(404, "the web client is not in this installation; the API is described at /docs")
    nonce = secrets.token_urlsafe(16)
    html = index.read_text(encoding="utf-8").replace(_NONCE, nonce).replace(_BASE, json.dumps(f"{root_path}/")[1:-1])
    headers = {"Content-Security-Policy": _POLICY.format(nonce=nonce), "Cache-Control": "no-store"}
    return HTMLResponse(html, headers=headers)


for _path in PAGES:
    router.get(_path)(_page)


@router.get(FILES + "{name}")
def file(name: str, accept_encoding: Annotated[str, Header()] = "") -> Response:
    """Return a file of the client, compressed if the browser takes that; its name has a hash, so that it never changes."""
    path = DIST / "assets" / name
    if "/" in name or not path.is_file():
        raise HTTPException(404, "the web client has no such file")
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
    if "gzip" not in accept_encoding:
        return FileResponse(path, headers=headers)
    media_type = mimetypes.guess_type(name)[0]
    return Response(_compressed(path), media_type=media_type, headers={**headers, "Content-Encoding": "gzip"})


@lru_cache(maxsize=64)
def _compressed(path: Path) -> bytes:
    return gzip.compress(path.read_bytes(), mtime=0)
