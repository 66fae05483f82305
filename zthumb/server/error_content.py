"""The body of an error: one form for this server's own clients, and OpenAI's below ``/v1``."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

OPENAI = "/v1/"
_FIELD = re.compile(r"([a-z_]+(?:\.[a-z_0-9]+)*): ")
_CODES: Mapping[int, str] = MappingProxyType(
    {
        400: "invalid_json",
        401: "invalid_api_key",
        403: "forbidden_origin",
        404: "not_found",
        405: "method_not_allowed",
        413: "request_too_large",
        421: "wrong_host",
        422: "invalid_value",
        429: "rate_limit_exceeded",
        499: "client_gone",
        502: "download_failed",
        503: "not_ready",
        504: "timeout",
        507: "out_of_memory",
    }
)


def error_content(path: str, status: int, told: str) -> dict[str, Any]:
    """What an error with ``status`` answers at ``path`` below the root; ``told`` begins with the field that is at fault."""
    if not path.startswith(OPENAI):
        return {"detail": told}
    field = _FIELD.match(told) if status == 422 else None
    return {
        "error": {
            "message": told,
            "type": "invalid_request_error" if status < 500 else "server_error",
            "param": field[1] if field else None,
            "code": _CODES.get(status, "server_error"),
        }
    }
