"""Tensors that are dear to make and the same every time: kept on the disk by what they were made from.

A key is the hash of everything an entry depends on, so that nothing stale is ever read: whatever changes makes another key.
Several processes may share a cache; an entry is whole or not there, and two that make the same one make the same bytes.
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
    """Entries in ``folder``, of at most ``limit`` bytes after ``trim``; those used longest ago go first."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder, self._limit = folder, limit
        self.made = 0
        """Entries made and not found so far."""

    def get(self, kind: str, depends_on: Mapping[str, Any], make: Callable[[], Tensors]) -> Tensors:
        """The entry for everything it ``depends_on``, made if it is not there or cannot be read."""
        key = hash_value({"kind": kind, **depends_on})
        path = self._folder / kind / key[:2] / f"{key}.safetensors"
        try:
            found: Tensors = load_file(path)
        except (FileNotFoundError, SafetensorError):
            return self._put(path, make())
        with contextlib.suppress(FileNotFoundError):  # another run may have trimmed it since
            os.utime(path)
        return found

    def trim(self) -> None:
        """Remove what was used longest ago until the rest is within the limit."""
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
        self.made += 1
        kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        with atomic_file(path) as temporary:
            save_file(kept, temporary)
        return kept
