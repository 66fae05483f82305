"""Sessions of pages: a cookie in the place of an API key, which the browser's own requests for images and events cannot carry."""

import hashlib
import hmac
import re
import time
from collections.abc import Sequence

COOKIE = "zthumb_session"
_COOKIE = re.compile(r"([0-9]{1,12})\.([0-9a-f]{64})")
LIFETIME_S = 30 * 24 * 3600


def issue(key: bytes, now: float | None = None) -> str:
    """Return the cookie of a session that ``key`` opens: when it ends, signed with the key. Nothing is kept on the server."""
    ends = str(int((time.time() if now is None else now) + LIFETIME_S))
    return f"{ends}.{_signature(key, ends)}"


def opened_by(cookie: str, keys: Sequence[bytes], now: float | None = None) -> bytes | None:
    """Return which of ``keys`` opened the session of ``cookie``; None if none did, or it has ended."""
    match = _COOKIE.fullmatch(cookie)
    if match is None or int(match[1]) < (time.time() if now is None else now):
        return None
    return next((key for key in keys if hmac.compare_digest(_signature(key, match[1]), match[2])), None)


def _signature(key: bytes, ends: str) -> str:
    return hmac.new(key, f"session until {ends}".encode(), hashlib.sha256).hexdigest()
