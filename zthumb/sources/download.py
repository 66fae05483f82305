"""A file fetched whole and right or not at all: resumed, verified, by one process at a time."""

import fcntl
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
from urllib3.exceptions import HTTPError

from foundation.errors import BadInput, SourceFailed
from zthumb.sources.guard import Policy, unreached
from zthumb.sources.reference import shown

_CHUNK = 2**20
_TRIES = 6
_REDIRECTS = 10
_TIMEOUT_S = 60
_LONGEST_WAIT_S = 120
ROOM = 64 * 2**20
"""Bytes that are left free on the disk."""
ADVICE = {
    401: "a login is needed: set HF_TOKEN or CIVITAI_API_KEY",
    403: "it may not be fetched with this login; accept its licence on its page, or wait until it is open to all",
    404: "nothing is there",
    410: "it was taken back by its author",
}

ProgressCallback = Callable[[int, int | None], None]
"""Told how many bytes there are, and of how many if that is known."""


@dataclass(frozen=True)
class File:
    """What to fetch: its address, its SHA-256 and size if they are known, and what to say to the first host alone."""

    url: str
    sha256: str | None = None
    size: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


class _Interrupted(Exception):
    """The line broke; what came stays, and it may be asked again in ``wait_s``."""

    def __init__(self, told: str, wait_s: float | None = None) -> None:
        super().__init__(told)
        self.wait_s = wait_s


def download(
    file: File,
    target: Path,
    policy: Policy,
    watch: ProgressCallback = lambda _, __: None,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Fetch ``file`` to ``target`` and return its SHA-256; what is there already is only checked.

    Raises ``BadInput`` for what may not be fetched, cannot be found or does not fit on the disk, ``SourceFailed`` when the server
    fails again and again or sends another file than was wanted, of which nothing is kept.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with alone(target):
        if target.exists():
            return _checked(target, file)
        part = target.with_name(f"{target.name}.part")
        _fetch(file, part, policy, watch, sleep)
        digest = _digest(part)
        if file.sha256 and digest != file.sha256.lower():
            _forget(part)
            raise SourceFailed(f"{target}: SHA-256 {digest} came, {file.sha256.lower()} was wanted. Nothing was kept.")
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.replace(target)
        _forget(part)
        return digest


@contextmanager
def alone(target: Path) -> Iterator[None]:
    """Hold the lock of ``target``, waiting for another process that fetches it."""
    lock = target.with_name(f".{target.name}.lock")
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(held, fcntl.LOCK_UN)


def _checked(target: Path, file: File) -> str:
    digest = _digest(target)
    if file.sha256 and digest != file.sha256.lower():
        raise SourceFailed(
            f"{target}: is there with SHA-256 {digest}, {file.sha256.lower()} was wanted. Remove it to fetch it again."
        )
    return digest


def _fetch(file: File, part: Path, policy: Policy, watch: ProgressCallback, sleep: Callable[[float], None]) -> None:
    """Ask until ``part`` is whole: what came stays, and the count of tries begins anew whenever something came."""
    left, session = _TRIES, policy.session()
    while True:
        before = _size(part)
        try:
            _attempt(session, file, part, policy, watch)
            return
        except (requests.RequestException, _Interrupted) as error:
            left = _TRIES if _size(part) > before else left - 1
            if not left:
                # The text of other errors has the whole address in it, which may be secret.
                told = (
                    str(error)
                    if isinstance(error, _Interrupted)
                    else f"the server cannot be reached ({unreached(file.url, error)})"
                )
                raise SourceFailed(f"{shown(file.url)}: {told}; tried {_TRIES} times without a byte.") from None
            sleep(min(getattr(error, "wait_s", None) or 0.5 * 2 ** (_TRIES - left), _LONGEST_WAIT_S))


def _attempt(session: requests.Session, file: File, part: Path, policy: Policy, watch: ProgressCallback) -> None:
    """Ask once for what is missing. A signed address is asked for anew every time, for it expires."""
    have, mark = _size(part), _mark(part)
    # As it lies there: what is packed on the way has another size, and cannot be gone on with.
    headers = {
        **file.headers,
        "accept-encoding": "identity",
        **({"range": f"bytes={have}-", "if-range": mark} if have and mark else {}),
    }
    with _followed(session, file.url, headers, policy) as answer:
        if answer.status_code == 416 and have:
            if answer.headers.get("content-range", "") == f"bytes */{have}":
                return  # all of it had come, and the process was killed before it was put into place
            _forget(part)
            raise _Interrupted("what was there is not of this file any more")
        _refuse(answer, file)
        goes_on = answer.status_code == 206 and _begins_at(answer, have)
        total = _total(answer, have if goes_on else 0) or file.size
        _check_size(total, have if goes_on else 0, part, policy)
        _remember(part, answer.headers.get("etag"))
        try:
            with part.open("ab" if goes_on else "wb") as written:
                _take(answer, written, have if goes_on else 0, total, policy, watch)
        except HTTPError as error:
            raise _Interrupted(f"the line broke ({type(error).__name__})") from None
    if total is not None and _size(part) < total:
        raise _Interrupted(f"{_size(part)} of {total} bytes came")


def _followed(session: requests.Session, url: str, headers: Mapping[str, str], policy: Policy) -> requests.Response:
    """The answer behind every redirect, each of which is checked. Another host is not told what was for the first."""
    told = dict(headers)
    for _ in range(_REDIRECTS):
        policy.check(url)
        answer = session.get(url, headers=told, stream=True, allow_redirects=False, timeout=_TIMEOUT_S)
        if not answer.is_redirect:
            return answer
        answer.close()
        onward = urljoin(url, answer.headers["location"])
        if urlsplit(onward).netloc != urlsplit(url).netloc:
            told = {name: value for name, value in told.items() if name.lower() not in ("authorization", "cookie")}
        url = onward
    raise SourceFailed(f"{shown(url)}: leads on and on.")


def _refuse(answer: requests.Response, file: File) -> None:
    where, status = shown(file.url), answer.status_code
    if status == 429 or status >= 500:
        told = answer.headers.get("retry-after", "")
        raise _Interrupted(f"the server answers {status}", float(told) if told.isdecimal() else None)
    if status not in (200, 206):
        raise BadInput(f"{where}: {ADVICE.get(status, 'the server refuses it')} ({status}).")
    if answer.headers.get("content-type", "").startswith("text/html"):
        raise BadInput(f"{where}: a page came in place of a file; it may take a login, or another address.")
    if answer.headers.get("content-encoding", "identity") != "identity":
        raise BadInput(f"{where}: the server packs the file, which was not asked for.")


def _begins_at(answer: requests.Response, have: int) -> bool:
    return answer.headers.get("content-range", "").startswith(f"bytes {have}-")


def _total(answer: requests.Response, have: int) -> int | None:
    told = answer.headers.get("content-range", "").rpartition("/")[2]
    if answer.status_code == 206 and told.isdecimal():
        return int(told)
    length = answer.headers.get("content-length", "")
    return have + int(length) if length.isdecimal() and not answer.headers.get("content-encoding") else None


def _check_size(total: int | None, have: int, part: Path, policy: Policy) -> None:
    if total is None:
        return
    if total > policy.most_bytes:
        raise BadInput(f"{part.stem}: {total} bytes are more than {policy.most_bytes}, the most that is fetched.")
    free = shutil.disk_usage(part.parent).free
    if total - have + ROOM > free:
        raise BadInput(f"{part.parent}: {total - have} bytes are still to come and {free} are free. Make room and try again.")


def _take(
    answer: requests.Response, written: BinaryIO, have: int, total: int | None, policy: Policy, watch: ProgressCallback
) -> None:
    # As it comes, so that nothing is lost of what came before the line broke.
    while chunk := answer.raw.read1(_CHUNK):
        have += len(chunk)
        if have > (total if total is not None else policy.most_bytes):
            raise BadInput(f"more came than the {total or policy.most_bytes} bytes there should be.")
        written.write(chunk)
        watch(have, total)


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _beside(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _mark(part: Path) -> str | None:
    """The server's mark of the version that ``part`` is of; without one it cannot be gone on with."""
    try:
        mark = json.loads(_beside(part).read_text(encoding="utf-8"))["etag"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return str(mark) if mark else None


def _remember(part: Path, etag: str | None) -> None:
    # A weak mark promises alike, not the same.
    kept = None if etag is None or etag.startswith("W/") else etag
    _beside(part).write_text(json.dumps({"etag": kept}), encoding="utf-8")


def _forget(part: Path) -> None:
    for path in (part, _beside(part)):
        path.unlink(missing_ok=True)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
