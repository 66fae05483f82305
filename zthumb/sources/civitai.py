"""Civitai: what an AIR of it names, looked up by its API (host civitai.com, path /api/v1)."""

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
from zthumb.sources.guard import Policy, unreached
from zthumb.sources.reference import Air

HOST = "https://civitai.com"
KEY = "CIVITAI_API_KEY"
OPENED = (".safetensors", ".gguf")
"""Only such files are ever opened: others may hold programs."""
_TIMEOUT_S, _UNTOLD = 30, "unknown"
_KINDS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("lora", "locon", "lycoris", "dora"), "adapter"),
        **dict.fromkeys(("embedding", "textualinversion"), "embedding"),
        **dict.fromkeys(("checkpoint", "model", "unet", "diffusionmodel"), "checkpoint"),
        **dict.fromkeys(("hypernet", "hypernetwork"), "hypernetwork"),
    }
)
"""Civitai's types and those of AIRs, by what they are."""

_LOG = logging.getLogger("zthumb")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Found:
    """A file of a model version: what to fetch, a safe name for it, and the words that call it up."""

    file: File
    model: str
    version: str
    name: str
    triggers: tuple[str, ...]
    base_model: str


def find(air: Air, policy: Policy | None = None, host: str = HOST) -> Found:
    """The file that ``air`` names.

    Raises ``BadInput`` when there is none, when it is not what the AIR says it is, or when it is of a kind that is never opened;
    ``SourceFailed`` when Civitai does not answer as it should. The API key is read from the environment and told to nobody else.
    """
    policy = policy or Policy()
    for number in (air.id, air.version or ""):
        if not re.fullmatch(r"[0-9]*", number):
            raise BadInput(f"{air}: models and versions of Civitai are numbers, and {number!r} is none.")
    try:
        return _found(air, policy, host)
    except (KeyError, ValueError, TypeError, AttributeError):
        raise SourceFailed(f"{air}: what Civitai answered cannot be read.") from None


def _found(air: Air, policy: Policy, host: str) -> Found:
    told = _ask(f"{host}/api/v1/model-versions/{_version(air, policy, host)}", air, policy)
    _check(told, air)
    chosen = _chosen(told.get("files") or [], air)
    name = safe_name(str(chosen.get("name", "")))
    if not name.lower().endswith(OPENED):
        raise BadInput(f"{air}: {name} is of a kind that is never opened; only {' and '.join(OPENED)} are.")
    hashes = chosen.get("hashes") or {}
    digest = str(hashes.get("SHA256", "")).lower() or None
    size = round(float(chosen["sizeKB"]) * 1024) if chosen.get("sizeKB") else None
    url = str(chosen.get("downloadUrl") or told.get("downloadUrl") or f"{host}/api/download/models/{told['id']}")
    words = tuple(str(word) for word in told.get("trainedWords") or [])
    version = safe_name(str(told.get("id")))
    # The key is told to Civitai alone, wherever the file lies.
    login = _login() if urlsplit(url).netloc == urlsplit(host).netloc else {}
    model = safe_name(str(told.get("modelId")))
    return Found(File(url, digest, size, login), model, version, name, words, str(told.get("baseModel", "")))


def safe_name(name: str) -> str:
    """A name that came from elsewhere as one of a file: no path, nothing hidden, no odd characters."""
    last = PurePosixPath(name.replace("\\", "/")).name
    return _UNSAFE.sub("-", last).lstrip(".-")[-120:] or "model"


def _version(air: Air, policy: Policy, host: str) -> str:
    if air.version is not None:
        return air.version
    told = _ask(f"{host}/api/v1/models/{air.id}", air, policy)
    versions = told.get("modelVersions") or []
    if not versions:
        raise BadInput(f"{air}: that model has no version.")
    return str(versions[0]["id"])


def _ask(url: str, air: Air, policy: Policy) -> dict[str, Any]:
    policy.check(url)
    try:
        answer = policy.session().get(url, headers=_login(), timeout=_TIMEOUT_S, allow_redirects=False)
    except requests.RequestException as error:
        raise SourceFailed(f"{air}: Civitai does not answer ({unreached(url, error)}).") from None
    if answer.status_code == 429:
        raise SourceFailed(f"{air}: Civitai has had enough questions for now (429); try again in a while.")
    if answer.status_code >= 500:
        raise SourceFailed(f"{air}: Civitai fails ({answer.status_code}); try again in a while.")
    if answer.status_code != 200:
        raise BadInput(f"{air}: {ADVICE.get(answer.status_code, 'Civitai refuses it')} ({answer.status_code}).")
    try:
        told = answer.json()
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise SourceFailed(f"{air}: what Civitai answered cannot be read.")
    return told


def _check(told: Mapping[str, Any], air: Air) -> None:
    """Is it the model that the AIR says? Of which type it is, its content decides; a table here could only be out of date."""
    if air.id and str(told.get("modelId")) != air.id:
        raise BadInput(f"{air}: version {air.version} is of model {told.get('modelId')}, not of {air.id}.")
    kind = str((told.get("model") or {}).get("type", "")).lower()
    if air.type and kind and _KINDS.get(kind, kind) != _KINDS.get(air.type, air.type):
        _LOG.warning("%s: Civitai calls it a %s, not a %s; what it is, the file itself tells.", air, kind, air.type)


def _chosen(files: Sequence[Mapping[str, Any]], air: Air) -> Mapping[str, Any]:
    """The file the AIR names, or the primary one of those of its format."""
    if air.file is not None:
        found = [each for each in files if str(each.get("id")) == air.file]
        if not found:
            raise BadInput(
                f"{air}: that version has no file {air.file}; it has {', '.join(str(each.get('id')) for each in files)}."
            )
        return found[0]
    wanted = [each for each in files if air.format is None or str(each.get("name", "")).lower().endswith(f".{air.format}")]
    if not wanted:
        raise BadInput(f"{air}: that version has no file{f' in {air.format}' if air.format else ''}.")
    for name, value in air.asked:
        left, there = [each for each in wanted if _told(each, name) == value], sorted({_told(each, name) for each in wanted})
        if there == [_UNTOLD]:
            continue
        if not left:
            raise BadInput(f"{air}: that version has no file of {name} {value}; there are {', '.join(there)}.")
        wanted = left
    return next((each for each in wanted if each.get("primary")), wanted[0])


def _told(file: Mapping[str, Any], name: str) -> str:
    """What Civitai says of a file's type, or in its metadata of its size and precision."""
    found = file.get(name) if name == "type" else (file.get("metadata") or {}).get(name)
    return str(found or _UNTOLD).lower()


def _login() -> dict[str, str]:
    key = os.environ.get(KEY, "")
    return {"authorization": f"Bearer {key}"} if key else {}
