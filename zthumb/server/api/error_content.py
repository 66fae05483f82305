"""The body of an error response: one form for this server's own clients, and OpenAI's form below ``/v1``."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

OPENAI_PREFIX = "/v1/"
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


def error_content(path: str, status: int, message: str) -> dict[str, Any]:
    """Return the body of an error response.

    ``path`` is the route's path, without the root path. The ``message`` of a 422 may begin with the field at fault.
    """
    if not path.startswith(OPENAI_PREFIX):
        return {"detail": message}
    field = _FIELD.match(message) if status == 422 else None
    return {
        "error": {
            "message": message,
            "type": "invalid_request_error" if status < 500 else "server_error",
            "param": field[1] if field else None,
            "code": _CODES.get(status, "server_error"),
        }
    }
