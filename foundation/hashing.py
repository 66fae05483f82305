"""SHA-256 of files, folders and values."""

import hashlib
import json
from pathlib import Path
from typing import Any


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in lower-case hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_files(folder: Path, pattern: str = "*") -> dict[str, str]:
    """Return the SHA-256 of every file below ``folder`` that matches ``pattern``, keyed by relative path, sorted."""
    paths = sorted(path for path in folder.rglob(pattern) if path.is_file())
    return {path.relative_to(folder).as_posix(): hash_file(path) for path in paths}


def hash_value(value: Any) -> str:
    """Return the SHA-256 of a JSON value; equal values have equal hashes, whatever the order of their keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
