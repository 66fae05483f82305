"""Download a file completely and verified, or not at all: resumed after interruptions, by one process at a time."""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urljoin, urlsplit

import requests
from filelock import FileLock
from urllib3.exceptions import HTTPError

from foundation.errors import BadInput, SourceFailed
from zthumb.sources.guard import Policy, describe_failure
from zthumb.sources.reference import shown

_CHUNK = 2**20
_TRIES = 6
_REDIRECTS = 10
_TIMEOUT_S = 60
_MAX_WAIT_S = 120
DISK_RESERVE = 64 * 2**20
"""Bytes that stay free on the disk."""
ADVICE = {
    401: "a login is needed: set HF_TOKEN or CIVITAI_API_KEY",
    403: "this login may not download it; accept its licence on its page, or wait until it is public",
    404: "it does not exist",
    410: "its author has removed it",
}

ProgressCallback = Callable[[int, int | None], None]
"""Called with the number of bytes received, and the total if that is known."""


@dataclass(frozen=True)
class File:
    """What to download: its URL, its SHA-256 and size if they are known, and headers that only the first host receives."""

    url: str
    sha256: str | None = None
    size: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


class _Interrupted(Exception):
    """The connection broke; what was received stays, and the next try may start in ``wait_s`` seconds."""

    def __init__(self, message: str, wait_s: float | None = None) -> None:
        super().__init__(message)
        self.wait_s = wait_s


def download(
    file: File,
    target: Path,
    policy: Policy,
    on_progress: ProgressCallback = lambda _, __: None,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Download ``file`` to ``target`` and return its SHA-256; an existing ``target`` is only verified.

    Raises ``BadInput`` for a file that may not be downloaded, does not exist or does not fit on the disk, ``SourceFailed`` when
    the server fails repeatedly or sends a file with another hash, of which nothing is kept.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with file_lock(target):
        if target.exists():
            return _verify(target, file)
        partial = target.with_name(f"{target.name}.part")
        _fetch(file, partial, policy, on_progress, sleep)
        digest = _digest(partial)
        if file.sha256 and digest != file.sha256.lower():
            _discard(partial)
            raise SourceFailed(f"{target}: received SHA-256 {digest}, expected {file.sha256.lower()}. Nothing was kept.")
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.replace(target)
        _discard(partial)
        return digest


@contextmanager
def file_lock(target: Path) -> Iterator[None]:
    """Hold the lock of ``target``, waiting for any other process that is downloading it."""
    with FileLock(target.with_name(f".{target.name}.lock")):
        yield


def _verify(target: Path, file: File) -> str:
    digest = _digest(target)
    if file.sha256 and digest != file.sha256.lower():
        raise SourceFailed(
            f"{target}: exists with SHA-256 {digest}, expected {file.sha256.lower()}. Remove it to download it again."
        )
    return digest


def _fetch(file: File, partial: Path, policy: Policy, on_progress: ProgressCallback, sleep: Callable[[float], None]) -> None:
    """Request the file until ``partial`` is complete, resuming; the count of tries starts anew whenever bytes were received."""
    tries_left, session = _TRIES, policy.session()
    while True:
        before = _size(partial)
        try:
            _attempt(session, file, partial, policy, on_progress)
            return
        except (requests.RequestException, _Interrupted) as error:
            tries_left = _TRIES if _size(partial) > before else tries_left - 1
            if not tries_left:
                # The text of other errors contains the whole URL, which may be secret.
                reason = (
                    str(error)
                    if isinstance(error, _Interrupted)
                    else f"the server cannot be reached ({describe_failure(file.url, error)})"
                )
                raise SourceFailed(f"{shown(file.url)}: {reason}; tried {_TRIES} times without receiving a byte.") from None
            sleep(min(getattr(error, "wait_s", None) or 0.5 * 2 ** (_TRIES - tries_left), _MAX_WAIT_S))


def _attempt(session: requests.Session, file: File, partial: Path, policy: Policy, on_progress: ProgressCallback) -> None:
    """Request the missing bytes once. Redirects are followed anew every time, because signed URLs expire."""
    received, etag = _size(partial), _stored_etag(partial)
    # Uncompressed: a compressed response has another size, and cannot be resumed.
    headers = {
        **file.headers,
        "accept-encoding": "identity",
        **({"range": f"bytes={received}-", "if-range": etag} if received and etag else {}),
    }
    with _follow_redirects(session, file.url, headers, policy) as response:
        if response.status_code == 416 and received:
            if response.headers.get("content-range", "") == f"bytes */{received}":
                return  # everything was received, and the process was killed before it renamed the file
            _discard(partial)
            raise _Interrupted("the partial file is of another version of this file")
        _check_response(response, file)
        resumes = response.status_code == 206 and _starts_at(response, received)
        total = _total(response, received if resumes else 0) or file.size
        _check_size(total, received if resumes else 0, partial, policy)
        _store_etag(partial, response.headers.get("etag"))
        try:
            with partial.open("ab" if resumes else "wb") as written:
                _write_body(response, written, received if resumes else 0, total, policy, on_progress)
        except HTTPError as error:
            raise _Interrupted(f"the connection broke ({type(error).__name__})") from None
    if total is not None and _size(partial) < total:
        raise _Interrupted(f"received {_size(partial)} of {total} bytes")


def _follow_redirects(session: requests.Session, url: str, headers: Mapping[str, str], policy: Policy) -> requests.Response:
    """Return the response after all redirects, each of which is checked. Another host does not receive the login."""
    sent = dict(headers)
    for _ in range(_REDIRECTS):
        policy.check(url)
        response = session.get(url, headers=sent, stream=True, allow_redirects=False, timeout=_TIMEOUT_S)
        if not response.is_redirect:
            return response
        response.close()
        location = urljoin(url, response.headers["location"])
        if urlsplit(location).netloc != urlsplit(url).netloc:
            sent = {name: value for name, value in sent.items() if name.lower() not in ("authorization", "cookie")}
        url = location
    raise SourceFailed(f"{shown(url)}: too many redirects.")


def _check_response(response: requests.Response, file: File) -> None:
    url, status = shown(file.url), response.status_code
    if status == 429 or status >= 500:
        retry_after = response.headers.get("retry-after", "")
        raise _Interrupted(f"the server answers {status}", float(retry_after) if retry_after.isdecimal() else None)
    if status not in (200, 206):
        raise BadInput(f"{url}: {ADVICE.get(status, 'the server refuses it')} ({status}).")
    if response.headers.get("content-type", "").startswith("text/html"):
        raise BadInput(f"{url}: the server sent a web page instead of a file; it may need a login, or another URL.")
    if response.headers.get("content-encoding", "identity") != "identity":
        raise BadInput(f"{url}: the server compresses the file, although it was asked not to.")


def _starts_at(response: requests.Response, offset: int) -> bool:
    return response.headers.get("content-range", "").startswith(f"bytes {offset}-")


def _total(response: requests.Response, offset: int) -> int | None:
    total = response.headers.get("content-range", "").rpartition("/")[2]
    if response.status_code == 206 and total.isdecimal():
        return int(total)
    length = response.headers.get("content-length", "")
    return offset + int(length) if length.isdecimal() and not response.headers.get("content-encoding") else None


def _check_size(total: int | None, received: int, partial: Path, policy: Policy) -> None:
    if total is None:
        return
    if total > policy.max_bytes:
        raise BadInput(f"{partial.stem}: {total} bytes are more than the limit of {policy.max_bytes}.")
    free = shutil.disk_usage(partial.parent).free
    if total - received + DISK_RESERVE > free:
        raise BadInput(
            f"{partial.parent}: {total - received} bytes are missing and {free} are free. Free disk space and try again."
        )


def _write_body(
    response: requests.Response,
    written: BinaryIO,
    received: int,
    total: int | None,
    policy: Policy,
    on_progress: ProgressCallback,
) -> None:
    # Written as it arrives, so that nothing is lost that arrived before the connection broke.
    while chunk := response.raw.read1(_CHUNK):
        received += len(chunk)
        if received > (total if total is not None else policy.max_bytes):
            raise BadInput(f"the server sent more than the expected {total or policy.max_bytes} bytes.")
        written.write(chunk)
        on_progress(received, total)


def _size(partial: Path) -> int:
    return partial.stat().st_size if partial.exists() else 0


def _metadata_path(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.json")


def _stored_etag(partial: Path) -> str | None:
    """Return the ETag of the version that ``partial`` is of; without one the download cannot be resumed."""
    try:
        etag = json.loads(_metadata_path(partial).read_text(encoding="utf-8"))["etag"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return str(etag) if etag else None


def _store_etag(partial: Path, etag: str | None) -> None:
    # A weak ETag promises equivalent content, not the same bytes.
    strong = None if etag is None or etag.startswith("W/") else etag
    _metadata_path(partial).write_text(json.dumps({"etag": strong}), encoding="utf-8")


def _discard(partial: Path) -> None:
    for path in (partial, _metadata_path(partial)):
        path.unlink(missing_ok=True)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
