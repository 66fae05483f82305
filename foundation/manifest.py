"""The manifest beside every stage's output: what went in, what came out, with what, on what.

It is how a stage knows that it is up to date, and how anyone can make the output again.
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

from foundation.arithmetic import arithmetic_facts
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
    """One run of a stage: its name, what it reads (path → SHA-256) and the settings it was given.

    ``command`` is what it was called by, a module and its arguments, for whoever wants to make its output again.
    """

    name: str
    inputs: Mapping[str, str]
    settings: Mapping[str, Any]
    seed: int | None = None
    command: Sequence[str] = field(default=(), compare=False)
    started: float = field(default_factory=time.monotonic, compare=False)

    @property
    def fingerprint(self) -> str:
        """Equal for equal inputs and settings."""
        return hash_value([self.name, dict(self.inputs), dict(self.settings), self.seed])

    def is_up_to_date(self, folder: Path, manifest: str = NAME) -> bool:
        """Whether ``folder`` holds the whole, unchanged output of this very stage."""
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
                "platform": {**platform_facts(), "device": device()},
                "arithmetic": arithmetic_facts(),
                "git": git_state(),
                "wall_time_s": round(time.monotonic() - self.started, 2),
            },
        )


def package_versions() -> dict[str, str]:
    """Versions of the installed packages that can change an output."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def platform_facts() -> dict[str, str | int | None]:
    """Operating system, processor and Python, as far as they decide rounding."""
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
    }


def device() -> str:
    """What heavy work of this process runs on: cuda where torch was loaded and found one, else cpu."""
    torch = sys.modules.get("torch")
    return "cuda" if torch is not None and torch.cuda.is_available() else "cpu"


def given(module: str, argv: Sequence[str] | None) -> tuple[str, ...]:
    """The command of a stage: its module and the arguments it was called with, but for the one that only makes it run again."""
    return (module, *(argument for argument in (sys.argv[1:] if argv is None else argv) if argument != "--force"))


def git_state() -> dict[str, str | bool] | None:
    """Commit and dirty flag of the checkout this code runs from, or None outside a checkout."""
    root = Path(__file__).resolve().parent.parent
    try:
        commit = _git(root, "rev-parse", "HEAD")
        return {"commit": commit, "dirty": bool(_git(root, "status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True).stdout.strip()
