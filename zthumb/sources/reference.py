"""How a model, an adapter or a VAE is named: one syntax everywhere.

urn:air:sdxl:lora:civitai:1377820@1963644      an AIR, with or without urn:air:, ecosystem and type
stabilityai/stable-diffusion-xl-base-1.0       a repository of the hub: owner/name[@revision][:file]
owner/name/file.safetensors, hf://owner/name   the same, as other tools write it
https://civitai.com/models/1?modelVersionId=2  a page or download link of Civitai, a page of the hub
https://example.org/models/a.safetensors       a URL
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
"""Types as AIRs and Civitai's pages call them. What a file really is, its content decides."""

FORMATS = ("safetensors", "gguf", "diffusers", "ckpt", "pt", "bin", "onnx")

_SOURCE = "|".join(sorted(SOURCES, key=len, reverse=True))
# Ids and versions may contain dots and match lazily, so that a known format at the end of an AIR is taken as its format.
_AIR = re.compile(
    rf"(?:(?P<first>[a-z0-9_-]+):)?(?:(?P<second>[a-z0-9_-]+):)?(?P<source>{_SOURCE}):(?P<id>[^\s@:+]*?)"
    rf"(?:@(?P<version>[^\s@:+]+?))?(?::(?P<layer>[^\s@:+.]+))?(?:\+(?P<file>[0-9A-Za-z_-]+))?(?:\.(?P<format>{'|'.join(FORMATS)}))?"
)
_ALLOWED_EXTENSIONS = (".safetensors", ".gguf")
_CIVITAI_HOSTS = ("civitai.com", "www.civitai.com", "civitai.red", "civitai.green")
_CIVITAI_FILTERS = ("type", "size", "fp")
_CIVITAI_MODEL = re.compile(r"/models/(?P<model>\d+)(?:/[^/]*)?/?")
_CIVITAI_DOWNLOAD = re.compile(r"/api/download/models/(?P<version>\d+)/?")
_CIVITAI_VERSION = re.compile(r"/model-versions/(?P<version>\d+)/?")
_HUB_HOSTS = ("huggingface.co", "www.huggingface.co", "hf.co")
_HUB_PAGE = re.compile(r"/(?P<repository>[\w.-]+/[\w.-]+)(?:/(?:tree|blob|resolve)/(?P<revision>[^/]+)(?:/(?P<file>.+?))?)?/?")
_WITHOUT_SCHEME = re.compile(rf"(?:{'|'.join(map(re.escape, (*_CIVITAI_HOSTS, *_HUB_HOSTS)))})/", re.IGNORECASE)
_HUB = re.compile(r"(?P<repository>[\w-][\w.-]*/[\w-][\w.-]*)(?:@(?P<revision>[\w./-]+))?(?::(?P<file>[\w./ ()+-]+))?")
_PARENT_FOLDER = re.compile(r"(^|/)\.\.(/|$)")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_PATH_PREFIXES = ("models/", "outputs/", "datasets/", "./", "../", "~/", "/")
_EXPECTED = "an AIR, owner/name[@revision][:file] of the hub, an https URL, a path, or a name of the catalogue"


@dataclass(frozen=True)
class Air:
    """What an AIR names. ``id`` may contain ``/``, ``version`` may contain dots; ``file`` is one of several files of a version.

    Without an ``id`` the version alone names the model, as in Civitai's download links. ``filters`` are the other properties by
    which such a link selects a file: its type, its size (full or pruned) and its precision (fp).
    """

    source: str
    id: str
    ecosystem: str | None = None
    type: str | None = None
    version: str | None = None
    layer: str | None = None
    file: str | None = None
    format: str | None = None
    filters: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        if self.filters:
            return f"https://{_CIVITAI_HOSTS[0]}/{self._civitai_link()}"
        prefix = "".join(f"{part}:" for part in (self.ecosystem, self.type) if part)
        optional = (("@", self.version), (":", self.layer), ("+", self.file), (".", self.format))
        return f"urn:air:{prefix}{self.source}:{self.id}" + "".join(f"{mark}{part}" for mark, part in optional if part)

    def _civitai_link(self) -> str:
        """Return path and query of the equivalent Civitai link: an AIR has no syntax for ``filters``."""
        path = f"models/{self.id}" if self.id else f"api/download/models/{self.version}"
        version = {"modelVersionId": self.version} if self.id and self.version else {}
        optional = {"fileId": self.file, "format": self.format}
        return (
            f"{path}?{urlencode({**version, **{name: value for name, value in optional.items() if value}, **dict(self.filters)})}"
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
class Url:
    """A file at an https URL."""

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


Reference = Air | Hub | Url | Local | Named


def shown(text: str) -> str:
    """Return a reference for display: a URL without user, password and query, which may be secret."""
    parts = urlsplit(text) if "://" in text else None
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" if parts else text


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long, a folder without read permission
        return False


def parse(text: str, exists: Callable[[Path], bool] = _exists) -> Reference:
    """Return the reference that ``text`` means; ``BadInput`` says what is wrong with it.

    Text that ``exists`` as a path is that path, whatever else it could mean.
    """
    text = text.strip()
    if not text or "\0" in text:
        raise BadInput(f"{text!r}: names nothing; give {_EXPECTED}.")
    if (reference := _parse_by_prefix(text)) is not None:
        return reference
    if exists(Path(text)):
        return Local(Path(text))
    parsed = _parse_by_form(text)
    if parsed is None:
        raise BadInput(f"{text!r}: names nothing; give {_EXPECTED}.")
    return parsed


def _parse_by_prefix(text: str) -> Reference | None:
    """Return the reference of a text whose prefix says what it is; None for any other."""
    if text.lower().startswith("hf://"):
        return _hub_path(text[len("hf://") :])
    if "://" in text:
        return _url(text)
    return _air(text) if text.lower().startswith(("urn:", "air:")) else None


def _parse_by_form(text: str) -> Reference | None:
    """Return the reference of a text that is not an existing path; None where its form is that of no reference."""
    if _WITHOUT_SCHEME.match(text):
        return _url(f"https://{text}")
    if (air := _AIR.fullmatch(_lower_air(text))) and (air["id"] or air["version"]):
        return _air(text)
    if text.startswith(_PATH_PREFIXES) or text.endswith("/"):
        return Local(Path(text))
    if (match := _HUB.fullmatch(text)) and not _PARENT_FOLDER.search(match["file"] or ""):
        return Hub(match["repository"], match["revision"], match["file"])
    if text.count("/") > 1 and text.lower().endswith(_ALLOWED_EXTENSIONS):
        return _hub_path(text)
    return Named(text.lower()) if _NAME.fullmatch(text.lower()) else None


def _hub_path(text: str) -> Hub:
    """Parse owner/name[@revision][/file], as fsspec and other tools write it."""
    owner, _, rest = text.partition("/")
    name, _, file = rest.partition("/")
    match = _HUB.fullmatch(f"{owner}/{name}" + (f":{file}" if file.strip("/") else ""))
    if match is None or _PARENT_FOLDER.search(file):
        raise BadInput(f"{text!r}: is not a path on the hub; write owner/name[@revision][/file].")
    return Hub(match["repository"], match["revision"], match["file"])


def _lower_air(text: str) -> str:
    """Return an AIR with its prefix, ecosystem, type and source in lower case, to match them by; the rest stays."""
    start = re.search(rf"(?:^|:)(?:{_SOURCE}):", text, re.IGNORECASE)
    return text[: start.end()].lower() + text[start.end() :] if start else text


def _parse_page(text: str) -> Reference | None:
    """Return the reference of a page or download link of Civitai or the hub; None for any other URL."""
    parts = urlsplit(text)
    host, query = (parts.hostname or "").lower(), parse_qs(parts.query)
    parameters = {name: values[0] for name, values in query.items()}
    if host in _CIVITAI_HOSTS:
        optional: dict[str, Any] = {
            "file": parameters.get("fileId"),
            "format": _civitai_format(text, parameters.get("format", "")),
        }
        optional["filters"] = tuple(
            (name, parameters[name].lower()) for name in _CIVITAI_FILTERS if name in parameters and not optional["file"]
        )
        if match := _CIVITAI_DOWNLOAD.fullmatch(parts.path) or _CIVITAI_VERSION.fullmatch(parts.path):
            return Air("civitai", "", version=match["version"], **optional)
        if match := _CIVITAI_MODEL.fullmatch(parts.path):
            return Air("civitai", match["model"], version=parameters.get("modelVersionId"), **optional)
    # A revision may contain escaped slashes, so the path is split before it is unescaped.
    if host in _HUB_HOSTS and (match := _HUB_PAGE.fullmatch(parts.path)):
        repository, revision, file = (
            None if part is None else unquote(part) for part in match.group("repository", "revision", "file")
        )
        if repository is not None and not any(_PARENT_FOLDER.search(part or "") for part in (revision, file)):
            return Hub(repository, None if revision == "main" else revision, file)
    return None


def _civitai_format(text: str, name: str) -> str | None:
    """Return the file format that Civitai's links call ``name``."""
    lowered = name.lower()
    file_format = {"safetensor": "safetensors"}.get(lowered, lowered)
    if file_format and f".{file_format}" not in _ALLOWED_EXTENSIONS and file_format != "diffusers":
        raise BadInput(
            f"{shown(text)!r}: format={name} is of a kind that is never opened; only {' and '.join(_ALLOWED_EXTENSIONS)} are."
        )
    return file_format or None


def _url(text: str) -> Reference:
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise BadInput(f"the text that begins with {text.partition('://')[0]!r}: is not a URL ({error}).") from None
    if parts.scheme != "https":
        raise BadInput(f"{shown(text)!r}: only https URLs are accepted.")
    if not host or parts.username or parts.password:
        raise BadInput(f"{shown(text)!r}: a URL needs a host, and may contain neither a user nor a password.")
    return _parse_page(text) or Url(text)


def _air(text: str) -> Air:
    match = _AIR.fullmatch(re.sub(r"^(urn:)?(air:)?", "", _lower_air(text), count=1))
    if match is None or not (match["id"] or match["version"]):
        form = "[urn:air:][ecosystem:][type:]source:id[@version][+file][.format]"
        raise BadInput(f"{text!r}: is not an AIR; write {form} with one of the sources {', '.join(SOURCES)}.")
    ecosystem, kind = match["first"], match["second"]
    if kind is None and ecosystem in TYPES:
        ecosystem, kind = None, ecosystem
    if kind is not None and kind not in TYPES:
        raise BadInput(f"{text!r}: {kind!r} is not a type of an AIR; types are {', '.join(TYPES)}.")
    version, layer, file, file_format = match.group("version", "layer", "file", "format")
    return Air(match["source"], match["id"], ecosystem, kind, version, layer, file, file_format)
