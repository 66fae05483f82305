"""What keeps this program from working here: Python, torch and the card, memory, disk, models, versions."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from foundation.errors import BadInput

if TYPE_CHECKING:
    from zthumb.server.settings import Settings

_GIB = 2**30
_LITTLE_DISK, _LITTLE_MEMORY = 20 * _GIB, 4 * _GIB
_MIN_PYTHON = (3, 11)
_CUDA_INDEX = "https://pytorch.org/get-started/locally"


@dataclass(frozen=True)
class Finding:
    """What was found: fine, worth knowing, or wrong; and what to do about it unless it is fine."""

    level: Literal["ok", "note", "wrong"]
    what: str
    remedy: str = ""

    @property
    def line(self) -> str:
        """The finding as a line of the command."""
        return f"{self.level:6}{self.what}{f'. {self.remedy}' if self.remedy else ''}"


def findings(settings: Settings) -> Iterator[Finding]:
    """Yield what there is to say of this machine for a server with these settings, one after the other."""
    yield from _python()
    yield from _versions()
    yield from _devices()
    yield from _memory()
    yield from _disk(settings)
    yield from _models(settings)


def _python() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < _MIN_PYTHON:
        yield Finding("wrong", f"Python {version}", "Install 3.11 or newer.")
    else:
        yield Finding("ok", f"Python {version}")


def _versions() -> Iterator[Finding]:
    """Compare the installed packages with what this program needs."""
    from packaging.requirements import Requirement

    try:
        needed = [Requirement(text) for text in metadata.requires("zthumb") or []]
    except metadata.PackageNotFoundError:
        yield Finding("note", "zthumb runs from a folder and is not installed", "`make setup` or `pip install .` installs it.")
        return
    wrong = [found for requirement in needed if (found := _mismatch(requirement))]
    for found in wrong:
        yield Finding("wrong", found, "`make setup` or `pip install .` installs the right one.")
    if not wrong:
        yield Finding("ok", f"packages: {len(needed)} requirements are met")


def _mismatch(requirement: Any) -> str:
    """How the installed version differs from the required one; empty if it does not, or nothing needs it here."""
    # Extras are for training and evaluation, and need not be there.
    is_optional = requirement.marker is not None and "extra" in str(requirement.marker)
    try:
        installed = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return "" if is_optional else f"{requirement.name} is not installed, and {requirement.specifier} is needed"
    if requirement.specifier.contains(installed, prereleases=True):
        return ""
    return f"{requirement.name} is {installed}, and {requirement.specifier} is needed"


def _devices() -> Iterator[Finding]:
    import torch

    yield Finding("ok", f"torch {torch.__version__}")
    driver = _nvidia_driver()
    if not torch.cuda.is_available():
        if driver and torch.version.cuda is None:
            yield Finding(
                "wrong", "a card of NVIDIA is here, and torch is the build for CPUs", f"Install its CUDA build ({_CUDA_INDEX})."
            )
        elif driver:
            yield Finding(
                "wrong",
                f"torch cannot use the card: it is built for CUDA {torch.version.cuda}, and the driver is {driver}",
                "Update the driver, or install a build of torch for an older CUDA.",
            )
        else:
            yield Finding(
                "note", "no GPU: everything runs on the CPU", "Miniatures are made for that; bases of full size are not."
            )
        return
    for index in range(torch.cuda.device_count()):
        name, (major, minor) = torch.cuda.get_device_name(index), torch.cuda.get_device_capability(index)
        architectures = torch.cuda.get_arch_list()
        if architectures and not _runs_on(architectures, major, minor):
            yield Finding(
                "wrong",
                f"{name} has compute capability {major}.{minor}, and torch is built for {', '.join(architectures)}",
                f"Install a build that knows it ({_CUDA_INDEX}).",
            )
        else:
            yield Finding("ok", f"cuda:{index} {name}, compute capability {major}.{minor}, driver {driver or 'unknown'}")


def _runs_on(architectures: Sequence[str], major: int, minor: int) -> bool:
    """Whether code for any of ``architectures`` runs on a card: binary code of its major version, or any older PTX."""
    for architecture in architectures:
        kind, _, digits = architecture.partition("_")
        number = int("".join(filter(str.isdigit, digits)) or 0)
        is_older = number <= 10 * major + minor
        if is_older and (kind == "compute" or number // 10 == major):
            return True
    return False


def _nvidia_driver() -> str:
    """The version of NVIDIA's driver; empty without one."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.split("\n")[0].strip()
    return ""


def _memory() -> Iterator[Finding]:
    from foundation.device import choose_device, free_bytes, total_bytes

    for device in dict.fromkeys([choose_device(), choose_device("cpu")]):
        free, total = free_bytes(device), total_bytes(device)
        what = f"memory of {device.type}: {free / _GIB:.1f} of {total / _GIB:.1f} GiB are free"
        if free < _LITTLE_MEMORY:
            yield Finding("note", what, "Close other programs, or set MEMORY_BUDGET; `zthumb vram` says what a base takes.")
        else:
            yield Finding("ok", what)


def _disk(settings: Settings) -> Iterator[Finding]:
    for folder in dict.fromkeys([settings.models_folder, settings.data_folder]):
        existing = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
        free = shutil.disk_usage(existing).free
        what = f"disk of {folder}: {free / _GIB:.1f} GiB are free"
        if free < _LITTLE_DISK:
            yield Finding("note", what, "A base of full size takes 5 to 60 GB; set ZTHUMB_DOWNLOAD_FOLDER to another disk.")
        else:
            yield Finding("ok", what)


def _models(settings: Settings) -> Iterator[Finding]:
    from zthumb.sources import catalogue
    from zthumb.sources.bases import check_base

    reference = settings.model
    try:
        check_base(reference)
        yield Finding("ok", f"the base {reference}")
    except BadInput as error:
        yield Finding("wrong", str(error).rstrip("."))
    for name, entry in catalogue.entries().items():
        path = catalogue.local_path(entry)
        if path is None or not path.exists():
            continue
        damaged = [file for file, known in entry.files.items() if known.size and _size(path, file) != known.size]
        if damaged:
            remedy = f"`python -m zthumb.scripts.download_models {name}` downloads it again."
            yield Finding("wrong", f"{path}: {', '.join(damaged)} is missing or has another size than published", remedy)
        else:
            yield Finding("ok", f"{name} is here")


def _size(model: Path, file: str) -> int:
    path = model if model.is_file() else model / file
    return path.stat().st_size if path.is_file() else -1
