"""Civitai: the file that an AIR names, looked up through its API (host civitai.com, path /api/v1)."""

import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import requests

from foundation.errors import BadInput, SourceFailed
from zthumb.sources.download import ADVICE, File
from zthumb.sources.guard import Policy, describe_failure
from zthumb.sources.reference import Air

HOST = "https://civitai.com"
KEY = "CIVITAI_API_KEY"
ALLOWED_EXTENSIONS = (".safetensors", ".gguf")
"""Only files with these extensions are ever opened: others may contain code."""
_TIMEOUT_S, _UNKNOWN = 30, "unknown"
_KINDS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("lora", "locon", "lycoris", "dora"), "adapter"),
        **dict.fromkeys(("embedding", "textualinversion"), "embedding"),
        **dict.fromkeys(("checkpoint", "model", "unet", "diffusionmodel"), "checkpoint"),
        **dict.fromkeys(("hypernet", "hypernetwork"), "hypernetwork"),
    }
)
"""Type names of Civitai and of AIRs → the kind of model they mean."""

_LOG = logging.getLogger("zthumb")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class CivitaiFile:
    """A file of a model version: what to download, a safe name for it, and its trigger words."""

    file: File
    model: str
    version: str
    name: str
    triggers: tuple[str, ...]
    base_model: str


def look_up(air: Air, policy: Policy | None = None, host: str = HOST) -> CivitaiFile:
    """Return the file that ``air`` names.

    Raises ``BadInput`` when there is none, when it is not what the AIR says, or when it is of a kind that is never opened;
    ``SourceFailed`` when Civitai does not answer as it should. The API key is read from the environment and sent only to
    Civitai.
    """
    policy = policy or Policy()
    for number in (air.id, air.version or ""):
        if not re.fullmatch(r"[0-9]*", number):
            raise BadInput(f"{air}: Civitai numbers its models and versions, and {number!r} is not a number.")
    try:
        return _look_up(air, policy, host)
    except (KeyError, ValueError, TypeError, AttributeError):
        raise SourceFailed(f"{air}: Civitai's answer cannot be read.") from None


def _look_up(air: Air, policy: Policy, host: str) -> CivitaiFile:
    metadata = _request(f"{host}/api/v1/model-versions/{_version(air, policy, host)}", air, policy)
    _check(metadata, air)
    chosen = _choose_file(metadata.get("files") or [], air)
    name = safe_name(str(chosen.get("name", "")))
    if not name.lower().endswith(ALLOWED_EXTENSIONS):
        raise BadInput(f"{air}: {name} is of a kind that is never opened; only {' and '.join(ALLOWED_EXTENSIONS)} are.")
    hashes = chosen.get("hashes") or {}
    digest = str(hashes.get("SHA256", "")).lower() or None
    size = round(float(chosen["sizeKB"]) * 1024) if chosen.get("sizeKB") else None
    url = str(chosen.get("downloadUrl") or metadata.get("downloadUrl") or f"{host}/api/download/models/{metadata['id']}")
    triggers = tuple(str(word) for word in metadata.get("trainedWords") or [])
    version = safe_name(str(metadata.get("id")))
    # The key is sent only to Civitai, wherever the file is stored.
    headers = _login_headers() if urlsplit(url).netloc == urlsplit(host).netloc else {}
    model = safe_name(str(metadata.get("modelId")))
    return CivitaiFile(File(url, digest, size, headers), model, version, name, triggers, str(metadata.get("baseModel", "")))


def safe_name(name: str) -> str:
    """Turn a name from an untrusted source into a file name: no path, not hidden, no special characters."""
    last = PurePosixPath(name.replace("\\", "/")).name
    return _UNSAFE.sub("-", last).lstrip(".-")[-120:] or "model"


def _version(air: Air, policy: Policy, host: str) -> str:
    if air.version is not None:
        return air.version
    model = _request(f"{host}/api/v1/models/{air.id}", air, policy)
    versions = model.get("modelVersions") or []
    if not versions:
        raise BadInput(f"{air}: that model has no version.")
    return str(versions[0]["id"])


def _request(url: str, air: Air, policy: Policy) -> dict[str, Any]:
    policy.check(url)
    try:
        response = policy.session().get(url, headers=_login_headers(), timeout=_TIMEOUT_S, allow_redirects=False)
    except requests.RequestException as error:
        raise SourceFailed(f"{air}: Civitai does not answer ({describe_failure(url, error)}).") from None
    if response.status_code == 429:
        raise SourceFailed(f"{air}: Civitai refuses further requests for now (429); try again later.")
    if response.status_code >= 500:
        raise SourceFailed(f"{air}: Civitai fails ({response.status_code}); try again later.")
    if response.status_code != 200:
        raise BadInput(f"{air}: {ADVICE.get(response.status_code, 'Civitai refuses it')} ({response.status_code}).")
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise SourceFailed(f"{air}: Civitai's answer cannot be read.")
    return answer


def _check(metadata: Mapping[str, Any], air: Air) -> None:
    """Check that the version is of the AIR's model. Another type is only a warning: the file's content decides its type.

    A table of types here could only be out of date.
    """
    if air.id and str(metadata.get("modelId")) != air.id:
        raise BadInput(f"{air}: version {air.version} is of model {metadata.get('modelId')}, not of {air.id}.")
    kind = str((metadata.get("model") or {}).get("type", "")).lower()
    if air.type and kind and _KINDS.get(kind, kind) != _KINDS.get(air.type, air.type):
        _LOG.warning("%s: Civitai calls it a %s, not a %s; the content of the file decides what it is.", air, kind, air.type)


def _choose_file(files: Sequence[Mapping[str, Any]], air: Air) -> Mapping[str, Any]:
    """Return the file that the AIR names, or the primary one of those that match its format and filters."""
    if air.file is not None:
        matches = [file for file in files if str(file.get("id")) == air.file]
        if not matches:
            raise BadInput(
                f"{air}: that version has no file {air.file}; it has {', '.join(str(file.get('id')) for file in files)}."
            )
        return matches[0]
    candidates = [file for file in files if air.format is None or str(file.get("name", "")).lower().endswith(f".{air.format}")]
    if not candidates:
        raise BadInput(f"{air}: that version has no file{f' in {air.format}' if air.format else ''}.")
    for name, value in air.filters:
        matches = [file for file in candidates if _attribute(file, name) == value]
        available = sorted({_attribute(file, name) for file in candidates})
        if available == [_UNKNOWN]:
            continue
        if not matches:
            raise BadInput(f"{air}: that version has no file of {name} {value}; there are {', '.join(available)}.")
        candidates = matches
    return next((file for file in candidates if file.get("primary")), candidates[0])


def _attribute(file: Mapping[str, Any], name: str) -> str:
    """Return a file's type, or the size or precision of its metadata, as Civitai states it."""
    value = file.get(name) if name == "type" else (file.get("metadata") or {}).get(name)
    return str(value or _UNKNOWN).lower()


def _login_headers() -> dict[str, str]:
    key = os.environ.get(KEY, "")
    return {"authorization": f"Bearer {key}"} if key else {}
