"""The page that describes the API, with its own files: it needs no other host, and shows nothing of one."""

import html
import json
import secrets
from pathlib import Path

import fastapi_offline
from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, HTMLResponse, Response
from starlette.exceptions import HTTPException

from zthumb.server.api.dependencies import RootPath

router = APIRouter(include_in_schema=False)

_STATIC = Path(fastapi_offline.__file__).parent / "static"
_FILES = ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png")
_POLICY = (
    "default-src 'none'; script-src 'self' 'nonce-{nonce}'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)


@router.get("/docs")
def docs(request: Request, root_path: RootPath) -> HTMLResponse:
    """Return the page of the API's description."""
    nonce, base = secrets.token_urlsafe(16), html.escape(root_path)
    options = json.dumps({"url": f"{root_path}{request.app.openapi_url}", "dom_id": "#swagger", "deepLinking": True})
    script = f"SwaggerUIBundle({options})".replace("<", "\\u003c")
    page = f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(request.app.title)}: the API</title>
<link rel="icon" href="{base}/docs/favicon.png">
<link rel="stylesheet" href="{base}/docs/swagger-ui.css">
<div id="swagger"></div>
<script src="{base}/docs/swagger-ui-bundle.js"></script>
<script nonce="{nonce}">{script}</script>
</html>
"""
    return HTMLResponse(page, headers={"Content-Security-Policy": _POLICY.format(nonce=nonce)})


@router.get("/docs/{name}")
def file(name: str) -> Response:
    """Return a file of that page."""
    if name not in _FILES:
        raise HTTPException(404, "the page of the API has no such file")
    return FileResponse(_STATIC / name, headers={"Cache-Control": "private, max-age=86400"})
