"""Environments of their own for the peers, made from the package index with the versions that this project pins."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from foundation.errors import StageFailed
from foundation.hashing import hash_value

FOLDER, PINS = Path("outputs/bench/environments"), Path("training/requirements.cpu.txt")
_MADE = ".made"


def python_of(name: str, packages: Sequence[str]) -> Path:
    """Return the Python of the environment ``name`` with ``packages``, which is made if it is not there as it must be."""
    folder = FOLDER / name
    python, made = folder / "bin" / "python", folder / _MADE
    wanted = hash_value([*packages, PINS.read_text(encoding="utf-8")])
    if made.exists() and made.read_text(encoding="utf-8") == wanted:
        return python.absolute()
    print(f"race: making an environment for {name}")
    install = [
        str(python),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--constraint",
        str(PINS),
        *packages,
    ]
    for command in ([sys.executable, "-m", "venv", "--clear", str(folder)], install):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise StageFailed(f"the environment of {name} cannot be made: {_last_line(done.stderr)}")
    made.write_text(wanted, encoding="utf-8")
    return python.absolute()


def _last_line(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), "no message")
