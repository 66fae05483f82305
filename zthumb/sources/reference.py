"""How a model, an adapter or a VAE is named: one syntax everywhere.

urn:air:sdxl:lora:civitai:1377820@1963644      an AIR, with or without urn:air:, ecosystem and type
stabilityai/stable-diffusion-xl-base-1.0       a repository of the hub: owner/name[@revision][:file]
owner/name/file.safetensors, hf://owner/name   the same, as others write it
https://civitai.com/models/1?modelVersionId=2  a page or a download of Civitai, a page of the hub
https://example.org/models/a.safetensors       an address
models/mini-sdxl                               a path on this disk
sdxl-base-1.0                                  a name of the catalogue
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from foundation.errors import BadInput

SOURCES = ("civitai", "civitai-r2", "huggingface", "orchestrator")
TYPES = (
    *("checkpoint", "lora", "dora", "lycoris", "embedding", "hypernet", "ag", "motion", "upscaler", "vae", "controlnet"),
    *("text_encoders", "unet", "clipvision", "clip", "visionlanguage", "diffusionmodel"),
    *("model", "locon", "textualinversion", "hypernetwork", "motionmodule", "aestheticgradient"),
)
"""Types as AIRs and Civitai's pages call them. What a file is, its content decides."""

FORMATS = ("safetensors", "gguf", "diffusers", "ckpt", "pt", "bin", "onnx")

_SOURCE = "|".join(sorted(SOURCES, key=len, reverse=True))
# Ids and versions may hold dots, and take as little as they can: what an AIR ends with is its format if it is one.
_AIR = re.compile(
    rf"(?:(?P<first>[a-z0-9_-]+):)?(?:(?P<second>[a-z0-9_-]+):)?(?P<source>{_SOURCE}):(?P<id>[^\s@:+]*?)"
    rf"(?:@(?P<version>[^\s@:+]+?))?(?::(?P<layer>[^\s@:+.]+))?(?:\+(?P<file>[0-9A-Za-z_-]+))?(?:\.(?P<format>{'|'.join(FORMATS)}))?"
)
_OPENED = (".safetensors", ".gguf")
_CIVITAI_HOSTS = ("civitai.com", "www.civitai.com", "civitai.red", "civitai.green")
_ASKED_OF_CIVITAI = ("type", "size", "fp")
_CIVITAI_MODEL = re.compile(r"/models/(?P<model>\d+)(?:/[^/]*)?/?")
_CIVITAI_DOWNLOAD = re.compile(r"/api/download/models/(?P<version>\d+)/?")
_CIVITAI_VERSION = re.compile(r"/model-versions/(?P<version>\d+)/?")
_HUB_HOSTS = ("huggingface.co", "www.huggingface.co", "hf.co")
_HUB_PAGE = re.compile(r"/(?P<repository>[\w.-]+/[\w.-]+)(?:/(?:tree|blob|resolve)/(?P<revision>[^/]+)(?:/(?P<file>.+?))?)?/?")
_WITHOUT_SCHEME = re.compile(rf"(?:{'|'.join(map(re.escape, (*_CIVITAI_HOSTS, *_HUB_HOSTS)))})/", re.IGNORECASE)
_HUB = re.compile(r"(?P<repository>[\w-][\w.-]*/[\w-][\w.-]*)(?:@(?P<revision>[\w./-]+))?(?::(?P<file>[\w./ ()+-]+))?")
_UP = re.compile(r"(^|/)\.\.(/|$)")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_HERE = ("models/", "outputs/", "datasets/", "./", "../", "~/", "/")
_WANTED = "an AIR, owner/name[@revision][:file] of the hub, an https address, a path, or a name of the catalogue"


@dataclass(frozen=True)
class Air:
    """What an AIR names. ``id`` may hold ``/``, ``version`` may hold dots; ``file`` is one of several of a version.

    Without an ``id`` the version names the model by itself, as Civitai's download addresses do. ``asked`` is what those say
    besides of the file they mean: its type, its size (full or pruned) and its precision (fp).
    """

    source: str
    id: str
    ecosystem: str | None = None
    type: str | None = None
    version: str | None = None
    layer: str | None = None
    file: str | None = None
    format: str | None = None
    asked: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        if self.asked:
            return f"https://{_CIVITAI_HOSTS[0]}/{self._page()}"
        kind = "".join(f"{part}:" for part in (self.ecosystem, self.type) if part)
        optional = (("@", self.version), (":", self.layer), ("+", self.file), (".", self.format))
        return f"urn:air:{kind}{self.source}:{self.id}" + "".join(f"{mark}{part}" for mark, part in optional if part)

    def _page(self) -> str:
        """The page or download of Civitai that means the same: an AIR has no place for what was ``asked``."""
        path = f"models/{self.id}" if self.id else f"api/download/models/{self.version}"
        version = {"modelVersionId": self.version} if self.id and self.version else {}
        optional = {"fileId": self.file, "format": self.format}
        return (
            f"{path}?{urlencode({**version, **{name: value for name, value in optional.items() if value}, **dict(self.asked)})}"
        )


@dataclass(frozen=True)
class Hub:
    """A repository of the hub, or a file in it; without a ``revision`` its main branch."""

    repository: str
    revision: str | None = None
    file: str | None = None

    def __str__(self) -> str:
        return self.repository + (f"@{self.revision}" if self.revision else "") + (f":{self.file}" if self.file else "")


@dataclass(frozen=True)
class Address:
    """A file at an https address."""

    url: str

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True)
class Local:
    """A file or folder on this disk."""

    path: Path

    def __str__(self) -> str:
        return self.path.as_posix()


@dataclass(frozen=True)
class Named:
    """A name of the catalogue."""

    name: str

    def __str__(self) -> str:
        return self.name


Reference = Air | Hub | Address | Local | Named


def shown(text: str) -> str:
    """What names a model, for anybody to read: an address without what may be secret in it."""
    parts = urlsplit(text) if "://" in text else None
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" if parts else text


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long, a folder that may not be looked into
        return False


def parse(text: str, exists: Callable[[Path], bool] = _exists) -> Reference:
    """What ``text`` names; ``BadInput`` says what is wrong with it.

    What ``exists`` as a path is that path, whatever else it could be.
    """
    text = text.strip()
    if not text or "\0" in text:
        raise BadInput(f"{text!r}: names nothing; give {_WANTED}.")
    if (found := _by_its_beginning(text)) is not None:
        return found
    if exists(Path(text)):
        return Local(Path(text))
    named = _by_its_form(text)
    if named is None:
        raise BadInput(f"{text!r}: names nothing; give {_WANTED}.")
    return named


def _by_its_beginning(text: str) -> Reference | None:
    """What a text names whose beginning says what it is; None for any other."""
    if text.lower().startswith("hf://"):
        return _path_on_the_hub(text[len("hf://") :])
    if "://" in text:
        return _address(text)
    return _air(text) if text.lower().startswith(("urn:", "air:")) else None


def _by_its_form(text: str) -> Reference | None:
    """What a text names that is no path here; None where it is of no form that names anything."""
    if _WITHOUT_SCHEME.match(text):
        return _address(f"https://{text}")
    if (air := _AIR.fullmatch(_lowered(text))) and (air["id"] or air["version"]):
        return _air(text)
    if text.startswith(_HERE) or text.endswith("/"):
        return Local(Path(text))
    if (found := _HUB.fullmatch(text)) and not _UP.search(found["file"] or ""):
        return Hub(found["repository"], found["revision"], found["file"])
    if text.count("/") > 1 and text.lower().endswith(_OPENED):
        return _path_on_the_hub(text)
    return Named(text.lower()) if _NAME.fullmatch(text.lower()) else None


def _path_on_the_hub(text: str) -> Hub:
    """owner/name[@revision][/file], as fsspec and others write it."""
    owner, _, rest = text.partition("/")
    name, _, file = rest.partition("/")
    found = _HUB.fullmatch(f"{owner}/{name}" + (f":{file}" if file.strip("/") else ""))
    if found is None or _UP.search(file):
        raise BadInput(f"{text!r}: is no path on the hub, which is owner/name[@revision][/file].")
    return Hub(found["repository"], found["revision"], found["file"])


def _lowered(text: str) -> str:
    """An AIR with all but its id, version, layer and file in small letters, as its parts are told apart by."""
    start = re.search(rf"(?:^|:)(?:{_SOURCE}):", text, re.IGNORECASE)
    return text[: start.end()].lower() + text[start.end() :] if start else text


def _page(text: str) -> Reference | None:
    """What a page or an address of Civitai or the hub names; None for any other."""
    parts = urlsplit(text)
    host, query = (parts.hostname or "").lower(), parse_qs(parts.query)
    asked = {name: values[0] for name, values in query.items()}
    if host in _CIVITAI_HOSTS:
        optional: dict[str, Any] = {"file": asked.get("fileId"), "format": _format_of_civitai(text, asked.get("format", ""))}
        optional["asked"] = tuple(
            (name, asked[name].lower()) for name in _ASKED_OF_CIVITAI if name in asked and not optional["file"]
        )
        if found := _CIVITAI_DOWNLOAD.fullmatch(parts.path) or _CIVITAI_VERSION.fullmatch(parts.path):
            return Air("civitai", "", version=found["version"], **optional)
        if found := _CIVITAI_MODEL.fullmatch(parts.path):
            return Air("civitai", found["model"], version=asked.get("modelVersionId"), **optional)
    # A revision may have slashes of its own, which are escaped: parts are told apart first.
    if host in _HUB_HOSTS and (found := _HUB_PAGE.fullmatch(parts.path)):
        repository, revision, file = (
            None if part is None else unquote(part) for part in found.group("repository", "revision", "file")
        )
        if repository is not None and not any(_UP.search(part or "") for part in (revision, file)):
            return Hub(repository, None if revision == "main" else revision, file)
    return None


def _format_of_civitai(text: str, named: str) -> str | None:
    """A file format as Civitai's addresses call it."""
    lowered = named.lower()
    found = {"safetensor": "safetensors"}.get(lowered, lowered)
    if found and f".{found}" not in _OPENED and found != "diffusers":
        raise BadInput(f"{shown(text)!r}: format={named} is of a kind that is never opened; only {' and '.join(_OPENED)} are.")
    return found or None


def _address(text: str) -> Reference:
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise BadInput(f"what begins with {text.partition('://')[0]!r}: is no address ({error}).") from None
    if parts.scheme != "https":
        raise BadInput(f"{shown(text)!r}: only https addresses are taken.")
    if not host or parts.username or parts.password:
        raise BadInput(f"{shown(text)!r}: an address has a host, and neither a user nor a password in it.")
    return _page(text) or Address(text)


def _air(text: str) -> Air:
    found = _AIR.fullmatch(re.sub(r"^(urn:)?(air:)?", "", _lowered(text), count=1))
    if found is None or not (found["id"] or found["version"]):
        form = "[urn:air:][ecosystem:][type:]source:id[@version][+file][.format]"
        raise BadInput(f"{text!r}: is no AIR, which is {form} with one of the sources {', '.join(SOURCES)}.")
    ecosystem, kind = found["first"], found["second"]
    if kind is None and ecosystem in TYPES:
        ecosystem, kind = None, ecosystem
    if kind is not None and kind not in TYPES:
        raise BadInput(f"{text!r}: {kind!r} is no type of an AIR; types are {', '.join(TYPES)}.")
    version, layer, file, ending = found.group("version", "layer", "file", "format")
    return Air(found["source"], found["id"], ecosystem, kind, version, layer, file, ending)
