"""The manifest next to every stage's output: its inputs, its outputs, and the settings, packages and machine that made them.

A stage uses it to know that its output is up to date, and anyone can use it to reproduce the output.
"""

import importlib.metadata
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from foundation.arithmetic import arithmetic_info
from foundation.device import choose_device
from foundation.files import read_json, write_json
from foundation.hashing import hash_file, hash_value

NAME = "manifest.json"
PACKAGES = (
    "accelerate", "diffusers", "huggingface_hub", "numpy", "peft", "pillow", "pydantic", "safetensors", "tokenizers", "torch",
    "transformers",
)  # fmt: skip
"""Packages whose versions can change an output."""


@dataclass(frozen=True)
class Stage:
    """One run of a stage: its name, its inputs (path → SHA-256) and its settings.

    ``command`` is the command line that started it, a module and its arguments, for whoever wants to reproduce its output.
    """

    name: str
    inputs: Mapping[str, str]
    settings: Mapping[str, Any]
    seed: int | None = None
    command: Sequence[str] = field(default=(), compare=False)
    started: float = field(default_factory=time.monotonic, compare=False)

    @property
    def fingerprint(self) -> str:
        """Return a hash that is equal for equal inputs and settings."""
        return hash_value([self.name, dict(self.inputs), dict(self.settings), self.seed])

    def is_up_to_date(self, folder: Path, manifest: str = NAME) -> bool:
        """Return whether ``folder`` holds the complete, unchanged output of a stage with the same inputs and settings."""
        path = folder / manifest
        try:
            written = read_json(path)
        except FileNotFoundError:
            return False
        outputs = written["outputs"]
        return bool(written["fingerprint"] == self.fingerprint) and all(
            (folder / name).is_file() and hash_file(folder / name) == digest for name, digest in outputs.items()
        )

    def write_manifest(self, folder: Path, outputs: Mapping[str, str], manifest: str = NAME) -> None:
        """Write the manifest of the finished stage. ``outputs``: path relative to ``folder`` → SHA-256."""
        write_json(
            folder / manifest,
            {
                "stage": self.name,
                "command": list(self.command),
                "fingerprint": self.fingerprint,
                "inputs": dict(self.inputs),
                "outputs": dict(outputs),
                "settings": dict(self.settings),
                "seed": self.seed,
                "packages": package_versions(),
                "platform": {**platform_info(), "device": device()},
                "arithmetic": arithmetic_info(),
                "git": git_state(),
                "wall_time_s": round(time.monotonic() - self.started, 2),
            },
        )


def package_versions() -> dict[str, str]:
    """Return the versions of the installed packages that can change an output."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def platform_info() -> dict[str, str | int | None]:
    """Return the operating system, processor and Python version, which can decide rounding."""
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
    }


def device() -> str:
    """Return the type of the device of this process's heavy work; cpu where torch is not loaded."""
    return choose_device().type if "torch" in sys.modules else "cpu"


def command_line(module: str, argv: Sequence[str] | None) -> tuple[str, ...]:
    """Return the command line of a stage: its module and arguments, without ``--force``, which only makes it run again."""
    return (module, *(argument for argument in (sys.argv[1:] if argv is None else argv) if argument != "--force"))


def git_state() -> dict[str, str | bool] | None:
    """Return the commit and dirty flag of the checkout that this code runs from; None outside a checkout."""
    root = Path(__file__).resolve().parent.parent
    try:
        commit = _git(root, "rev-parse", "HEAD")
        return {"commit": commit, "dirty": bool(_git(root, "status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True).stdout.strip()
