"""How a model, an adapter or a VAE is named: one syntax everywhere.

urn:air:sdxl:lora:civitai:1377820@1963644      an AIR, with or without urn:air:, ecosystem and type
stabilityai/stable-diffusion-xl-base-1.0       a repository of the hub: owner/name[@revision][:file]
https://example.org/models/a.safetensors       an address
models/mini-sdxl                               a path on this disk
sdxl-base-1.0                                  a name of the catalogue
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from foundation.errors import BadInput

SOURCES = ("civitai", "civitai-r2", "huggingface", "orchestrator")
TYPES = (
    *("checkpoint", "lora", "dora", "lycoris", "embedding", "hypernet", "ag", "motion", "upscaler", "vae", "controlnet"),
    *("text_encoders", "unet", "clipvision", "clip", "visionlanguage", "diffusionmodel"),
)
FORMATS = ("safetensors", "gguf", "diffusers", "ckpt", "pt", "bin", "onnx")

_SOURCE = "|".join(sorted(SOURCES, key=len, reverse=True))
# Ids and versions may hold dots, and take as little as they can: what an AIR ends with is its format if it is one.
_AIR = re.compile(
    rf"(?:(?P<first>[a-z0-9_-]+):)?(?:(?P<second>[a-z0-9_-]+):)?(?P<source>{_SOURCE}):(?P<id>[^\s@:+]+?)"
    rf"(?:@(?P<version>[^\s@:+]+?))?(?::(?P<layer>[^\s@:+.]+))?(?:\+(?P<file>[0-9A-Za-z_-]+))?(?:\.(?P<format>{'|'.join(FORMATS)}))?"
)
_HUB = re.compile(r"(?P<repository>[\w-][\w.-]*/[\w-][\w.-]*)(?:@(?P<revision>[\w./-]+))?(?::(?P<file>[\w./ ()+-]+))?")
_UP = re.compile(r"(^|/)\.\.(/|$)")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_HERE = ("models/", "outputs/", "datasets/", "./", "../", "~/", "/")
_WANTED = "an AIR, owner/name[@revision][:file] of the hub, an https address, a path, or a name of the catalogue"


@dataclass(frozen=True)
class Air:
    """What an AIR names. ``id`` may hold ``/``, ``version`` may hold dots; ``file`` is one of several of a version."""

    source: str
    id: str
    ecosystem: str | None = None
    type: str | None = None
    version: str | None = None
    layer: str | None = None
    file: str | None = None
    format: str | None = None

    def __str__(self) -> str:
        kind = "".join(f"{part}:" for part in (self.ecosystem, self.type) if part)
        optional = (("@", self.version), (":", self.layer), ("+", self.file), (".", self.format))
        return f"urn:air:{kind}{self.source}:{self.id}" + "".join(f"{mark}{part}" for mark, part in optional if part)


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
    if not text or text != text.strip() or "\0" in text:
        raise BadInput(f"{text!r}: names nothing; give {_WANTED}.")
    if "://" in text:
        return _address(text)
    if text.startswith(("urn:", "air:")):
        return _air(text)
    if exists(Path(text)):
        return Local(Path(text))
    if _AIR.fullmatch(text):
        return _air(text)
    if text.startswith(_HERE) or text.endswith("/"):
        return Local(Path(text))
    if (found := _HUB.fullmatch(text)) and not _UP.search(found["file"] or ""):
        return Hub(found["repository"], found["revision"], found["file"])
    if _NAME.fullmatch(text):
        return Named(text)
    raise BadInput(f"{text!r}: names nothing; give {_WANTED}.")


def _address(text: str) -> Address:
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise BadInput(f"what begins with {text.partition('://')[0]!r}: is no address ({error}).") from None
    if parts.scheme != "https":
        raise BadInput(f"{shown(text)!r}: only https addresses are taken.")
    if not host or parts.username or parts.password:
        raise BadInput(f"{shown(text)!r}: an address has a host, and neither a user nor a password in it.")
    return Address(text)


def _air(text: str) -> Air:
    found = _AIR.fullmatch(re.sub(r"^(urn:)?(air:)?", "", text, count=1))
    if found is None:
        form = "[urn:air:][ecosystem:][type:]source:id[@version][+file][.format]"
        raise BadInput(f"{text!r}: is no AIR, which is {form} with one of the sources {', '.join(SOURCES)}.")
    ecosystem, kind = found["first"], found["second"]
    if kind is None and ecosystem in TYPES:
        ecosystem, kind = None, ecosystem
    if kind is not None and kind not in TYPES:
        raise BadInput(f"{text!r}: {kind!r} is no type of an AIR; types are {', '.join(TYPES)}.")
    optional = {part: found[part] for part in ("version", "layer", "file", "format")}
    return Air(found["source"], found["id"], ecosystem, kind, **optional)
