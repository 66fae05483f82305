"""The adapters that lie ready on a loaded base: read once, kept while there is room, counting in their own request alone."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from foundation.errors import BadInput
from zthumb.adapters import apply, reader
from zthumb.adapters.effect import check_effect
from zthumb.adapters.module_shapes import ModuleShapes

if TYPE_CHECKING:
    from pathlib import Path

    from zthumb.adapters.adapter import Adapter
    from zthumb.adapters.apply import Parts
    from zthumb.adapters.textual_inversion import LearnedEmbedding


@dataclass(frozen=True)
class Lora:
    """An adapter and how strongly it counts: 0 is the base, 1 the adapter as trained."""

    path: Path
    weight: float


@dataclass(frozen=True)
class _Version:
    """One content of one file, and of that of its words: a file that was written anew is another."""

    file: Path
    states: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class _Ready:
    """An adapter that lies on the base, called ``name`` there."""

    name: str
    sha256: str
    bytes: int
    words: tuple[LearnedEmbedding, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Applied:
    """The adapters that count: the SHA-256 of each, and how many tokens stand for each of the words they bring.

    ``notes`` say what of their files was left out.
    """

    sha256: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    words: Mapping[str, int] = field(default_factory=dict)


class AdapterCache:
    """Adapters on the ``parts`` of a pipeline, of at most ``limit`` bytes in all; the longest unused goes first.

    Outside ``counting`` none of them counts, and the base predicts bit for bit what it predicted before any was read. It is used
    by one thread at a time.
    """

    def __init__(self, parts: Parts, base: ModuleShapes, limit: int) -> None:
        self._parts, self._base, self._limit = parts, base, limit
        self._ready: OrderedDict[_Version, _Ready] = OrderedDict()
        self._modules: list[Any] = []
        self._numbers = 0

    @property
    def bytes(self) -> int:
        """How much they take."""
        return sum(each.bytes for each in self._ready.values())

    def __len__(self) -> int:
        return len(self._ready)

    @contextlib.contextmanager
    def counting(self, wanted: Sequence[Lora]) -> Iterator[Applied]:
        """The ``wanted`` adapters count inside the block and no other; none after it, whatever happens.

        A word is known while its adapter's weight is not 0. Raises ``BadInput`` for one that cannot be used, or all of which
        together find no room.
        """
        from zthumb.adapters.extended_embedding import with_learned_tokens

        versions = [_version(lora.path) for lora in wanted]
        try:
            ready = [self._load(version, keep=versions) for version in versions]
            apply.set_weights(self._modules, {each.name: lora.weight for each, lora in zip(ready, wanted, strict=True)})
            brought = [word for each, lora in zip(ready, wanted, strict=True) if lora.weight != 0 for word in each.words]
            with with_learned_tokens(self._parts, brought) as known:
                notes = tuple(note for each in ready for note in each.notes)
                yield Applied(tuple(each.sha256 for each in ready), notes, known)
        finally:
            self._forget()

    def _forget(self) -> None:
        """Let none count. Should that fail, none may stay."""
        try:
            apply.set_weights(self._modules, {})
        except BaseException:
            self.clear()
            raise

    def clear(self) -> None:
        """Forget all of them: every module of the base is again the object it was."""
        self._ready.clear()
        self._modules.clear()
        apply.unload(self._parts)

    def _load(self, version: _Version, keep: Sequence[_Version]) -> _Ready:
        if version in self._ready:
            self._ready.move_to_end(version)
            return self._ready[version]
        adapter, sha256 = reader.load(version.file, self._base), reader.hash_of(version.file)
        check_effect(adapter, self._base, version.file)
        size = _bytes(adapter, next(next(iter(self._parts.values())).parameters()).element_size())
        self._make_room(size, keep, version)
        self._numbers += 1
        name = f"adapter {self._numbers}"
        try:
            apply.inject(self._parts, adapter, name)
        except BaseException:
            # Part of it may be on already.
            apply.remove(self._parts, name)
            raise
        finally:
            self._modules = apply.adapted_modules(self._parts)
        self._ready[version] = _Ready(name, sha256, size, adapter.words, adapter.notes)
        return self._ready[version]

    def _make_room(self, size: int, keep: Sequence[_Version], version: _Version) -> None:
        for old in [each for each in self._ready if each not in keep]:
            if self.bytes + size <= self._limit:
                return
            apply.remove(self._parts, self._ready.pop(old).name)
            self._modules = apply.adapted_modules(self._parts)
        if self.bytes + size > self._limit:
            raise BadInput(
                f"{version.file}: the adapters of this request take {(self.bytes + size) / 2**20:.0f} MiB, and there is room for "
                f"{self._limit / 2**20:.0f}. Take fewer, or give the server more (ZTHUMB_ADAPTER_MEMORY_MB)."
            )


def _version(path: Path) -> _Version:
    files = reader.files(path)
    states = [each.stat() for each in files]
    return _Version(files[0], tuple((state.st_size, state.st_mtime_ns) for state in states))


def _bytes(adapter: Adapter, element: int) -> int:
    tensors: list[Any] = [tensor for layer in adapter.layers.values() for tensor in (layer.up, layer.down, layer.magnitude)]
    changes = sum(each.bytes for each in adapter.changes.values())
    layers: int = sum(tensor.numel() * element for tensor in tensors if tensor is not None)
    return layers + changes
