"""Tensors that are expensive to compute and the same every time, cached on disk by what they were computed from.

A key is the hash of everything an entry depends on, so that no stale entry is ever read: any change gives another key. Several
processes may share a cache: an entry is complete or missing, and processes that compute the same one write the same bytes.
"""

import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from foundation.files import atomic_file
from foundation.hashing import hash_value

Tensors = dict[str, Tensor]


class Cache:
    """Entries in ``folder``, of at most ``limit`` bytes after ``trim``; the least recently used are evicted first."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder, self._limit = folder, limit
        self.misses = 0
        """Entries computed so far because they were not found."""

    def get(self, kind: str, depends_on: Mapping[str, Any], compute: Callable[[], Tensors]) -> Tensors:
        """Return the entry for everything it ``depends_on``, computed if it is missing or cannot be read."""
        key = hash_value({"kind": kind, **depends_on})
        path = self._folder / kind / key[:2] / f"{key}.safetensors"
        try:
            tensors: Tensors = load_file(path)
        except (FileNotFoundError, SafetensorError):
            return self._put(path, compute())
        with contextlib.suppress(FileNotFoundError):  # another run may have trimmed it since
            os.utime(path)
        return tensors

    def trim(self) -> None:
        """Remove the least recently used entries until the rest is within the limit."""
        entries = []
        for path in self._folder.rglob("*.safetensors"):
            with contextlib.suppress(FileNotFoundError):  # another run trims as well
                entries.append((path.stat(), path))
        total = sum(stat.st_size for stat, _ in entries)
        for stat, path in sorted(entries, key=lambda entry: (entry[0].st_mtime_ns, entry[1])):
            if total <= self._limit:
                break
            path.unlink(missing_ok=True)
            total -= stat.st_size

    def _put(self, path: Path, tensors: Tensors) -> Tensors:
        self.misses += 1
        stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        with atomic_file(path) as temporary:
            save_file(stored, temporary)
        return stored
