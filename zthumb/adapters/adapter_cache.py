"""Recently used adapters stay loaded on a base; the least recently used is evicted; each is active only in its own request."""

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
from zthumb.families.shared.components import Using, always_there

if TYPE_CHECKING:
    from pathlib import Path

    from zthumb.adapters.adapter import Adapter
    from zthumb.adapters.apply import Components
    from zthumb.adapters.textual_inversion import LearnedEmbedding


@dataclass(frozen=True)
class Lora:
    """An adapter file and its weight: 0 is the base, 1 the adapter as trained."""

    path: Path
    weight: float


@dataclass(frozen=True)
class _FileVersion:
    """One content of an adapter file and of the files that belong to it; a rewritten file is another version."""

    file: Path
    stats: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class _LoadedAdapter:
    """An adapter that is injected into the base under ``name``."""

    name: str
    sha256: str
    size_bytes: int
    learned_embeddings: tuple[LearnedEmbedding, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class AppliedAdapters:
    """The active adapters: the SHA-256 of each, and the number of tokens of each learned embedding they bring.

    ``notes`` say which contents of their files were skipped.
    """

    sha256: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    learned_tokens: Mapping[str, int] = field(default_factory=dict)


class AdapterCache:
    """Adapters injected into the ``components`` of a pipeline, at most ``limit`` bytes; the least recently used is evicted first.

    Outside ``apply_lora`` none of them is active, and the base predicts exactly what it predicted before any was loaded. Only one
    thread at a time may use the cache. Where weights come and go, ``using`` has those of components where they compute,
    ``reading`` anywhere, and ``target`` says where and in which precision adapters compute.
    """

    def __init__(
        self,
        components: Components,
        base: ModuleShapes,
        limit: int,
        using: Using = always_there,
        reading: Using = always_there,
        target: apply.Target | None = None,
    ) -> None:
        self._components, self._base, self._limit = components, base, limit
        self._using, self._reading, self._target = using, reading, target
        self._loaded: OrderedDict[_FileVersion, _LoadedAdapter] = OrderedDict()
        self._modules: list[Any] = []
        self._load_count = 0

    @property
    def size_bytes(self) -> int:
        """Return the memory that the loaded adapters take."""
        return sum(adapter.size_bytes for adapter in self._loaded.values())

    def __len__(self) -> int:
        return len(self._loaded)

    @contextlib.contextmanager
    def apply_lora(self, loras: Sequence[Lora]) -> Iterator[AppliedAdapters]:
        """Activate exactly ``loras`` inside the block, and deactivate them afterwards, whatever happens.

        Learned tokens are known while the weight of their adapter is not 0. Raises ``BadInput`` for an adapter that cannot be
        used, and for adapters that exceed the limit together.
        """
        from zthumb.adapters.extended_embedding import with_learned_tokens

        versions = [_version_of(lora.path) for lora in loras]
        try:
            loaded = [self._load(version, pinned=versions) for version in versions]
            apply.set_weights(self._modules, {adapter.name: lora.weight for adapter, lora in zip(loaded, loras, strict=True)})
            active = [
                embedding
                for adapter, lora in zip(loaded, loras, strict=True)
                if lora.weight != 0
                for embedding in adapter.learned_embeddings
            ]
            with contextlib.ExitStack() as stack:
                with self._using([component for embedding in active for component in embedding.vectors]):
                    token_counts = stack.enter_context(with_learned_tokens(self._components, active))
                notes = tuple(note for adapter in loaded for note in adapter.notes)
                yield AppliedAdapters(tuple(adapter.sha256 for adapter in loaded), notes, token_counts)
        finally:
            self._deactivate_all()

    def _deactivate_all(self) -> None:
        """Deactivate every adapter. If that fails, unload them all, so that none stays active."""
        try:
            apply.set_weights(self._modules, {})
        except BaseException:
            self.clear()
            raise

    def clear(self) -> None:
        """Unload every adapter; each module of the base is the original object again."""
        self._loaded.clear()
        self._modules.clear()
        apply.unload(self._components)

    def _load(self, version: _FileVersion, pinned: Sequence[_FileVersion]) -> _LoadedAdapter:
        if version in self._loaded:
            self._loaded.move_to_end(version)
            return self._loaded[version]
        adapter, sha256 = reader.load(version.file, self._base), reader.hash_of(version.file)
        check_effect(adapter, self._base, version.file)
        size = _size_bytes(adapter, next(next(iter(self._components.values())).parameters()).element_size())
        self._evict(size, pinned, version)
        self._load_count += 1
        name = f"adapter {self._load_count}"
        try:
            with self._reading(adapter.parts):
                apply.inject(self._components, adapter, name, self._target)
        except BaseException:
            # A part of it may be injected already.
            apply.remove(self._components, name)
            raise
        finally:
            self._modules = apply.adapted_modules(self._components)
        self._loaded[version] = _LoadedAdapter(name, sha256, size, adapter.embeddings, adapter.notes)
        return self._loaded[version]

    def _evict(self, size: int, pinned: Sequence[_FileVersion], version: _FileVersion) -> None:
        """Remove unpinned adapters, the least recently used first, until ``size`` more bytes fit."""
        for candidate in [loaded for loaded in self._loaded if loaded not in pinned]:
            if self.size_bytes + size <= self._limit:
                return
            apply.remove(self._components, self._loaded.pop(candidate).name)
            self._modules = apply.adapted_modules(self._components)
        if self.size_bytes + size > self._limit:
            raise BadInput(
                f"{version.file}: the adapters of this request take {(self.size_bytes + size) / 2**20:.0f} MiB, more than the "
                f"limit of {self._limit / 2**20:.0f}. Use fewer, or raise the server's limit (ZTHUMB_ADAPTER_MEMORY_MB)."
            )


def _version_of(path: Path) -> _FileVersion:
    files = reader.files(path)
    stats = [file.stat() for file in files]
    return _FileVersion(files[0], tuple((stat.st_size, stat.st_mtime_ns) for stat in stats))


def _size_bytes(adapter: Adapter, element_size: int) -> int:
    tensors: list[Any] = [tensor for layer in adapter.layers.values() for tensor in (layer.up, layer.down, layer.magnitude)]
    changes = sum(change.size_bytes for change in adapter.changes.values())
    layers: int = sum(tensor.numel() * element_size for tensor in tensors if tensor is not None)
    return layers + changes
