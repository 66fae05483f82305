"""The adapters that this server has: what lies in its models folder, found by id, path or content, and nothing outside it."""

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from foundation.errors import BadInput
from foundation.verdict import NAME as VERDICT
from foundation.verdict import Verdict, read_verdict
from zthumb.a1111.lora_tags import LoraTag
from zthumb.adapters import header, library, reader
from zthumb.adapters.adapter_cache import Lora
from zthumb.server.download_guard import DownloadGuard
from zthumb.server.schemas import MAX_LORAS, GenerateRequest, LoraRequest
from zthumb.server.settings import MAX_WEIGHT, Settings
from zthumb.sources import kinds
from zthumb.sources.catalogue import entries
from zthumb.sources.reference import Local, Named, parse
from zthumb.sources.resolve import Resolver

BY_CONTENT, _DIGITS = "sha256:", 8
_HEXADECIMAL = frozenset("0123456789abcdef")


@dataclass(frozen=True)
class _Version:
    path: Path
    states: tuple[tuple[int, int], ...]


class AdapterRegistry:
    """The adapters in the models folder of a server. It may be asked by several threads."""

    def __init__(self, settings: Settings, resolver: Resolver) -> None:
        self._settings, self._resolver = settings, resolver
        self._root = settings.models_folder.resolve()
        self._downloads = DownloadGuard()
        self._hashes: dict[_Version, str] = {}

    def named(self, path: Path) -> str:
        """An adapter's path as ``lora_path`` takes it; of one that was fetched to elsewhere the name of its file."""
        return path.relative_to(self._root).as_posix() if path.is_relative_to(self._root) else path.name

    def files(self) -> list[str]:
        """Every adapter."""
        return sorted(self.named(path) for path in self._paths())

    def ids(self) -> list[str]:
        """The adapters' ids."""
        return list(self.by_id())

    def verdicts(self) -> dict[str, Verdict]:
        """What evaluations said of adapters, by their paths: of those that a verdict lies beside which is on this very file."""
        found = {}
        for path in self._paths():
            beside = path.parent / VERDICT
            try:
                verdict = read_verdict(beside) if beside.is_file() else None
            except (BadInput, OSError, ValueError):
                continue
            if verdict and verdict.adapter_sha256 and verdict.adapter_sha256 == self._hash(path):
                found[self.named(path)] = verdict
        return found

    def asked(self, request: GenerateRequest, may_fetch: bool, tags: Sequence[LoraTag] = ()) -> tuple[Lora, ...]:
        """The adapters that a request means, and behind them those of the ``tags`` in its prompt.

        ``BadInput`` for one that is not here and that it ``may_fetch`` not, for one that is named twice, and for too many.
        """
        if len(tags) > MAX_LORAS:
            raise BadInput(f"prompt: {len(tags)} adapters are named; {MAX_LORAS} are taken at most.")
        ids = self.by_id() if tags else {}
        named = tuple(Lora(self._tagged(tag, ids), tag.weight) for tag in tags)
        # A prompt that names adapters itself takes no default one.
        fields = () if tags and not request.names_adapters else self._of_fields(request, may_fetch)
        found = (*fields, *named)
        if len({lora.path for lora in found}) < len(found):
            raise BadInput(f"{'prompt' if tags else 'loras'}: names one adapter twice.")
        if len(found) > MAX_LORAS:
            raise BadInput(f"prompt: {len(found)} adapters are named; {MAX_LORAS} are taken at most.")
        return found

    def _of_fields(self, request: GenerateRequest, may_fetch: bool) -> tuple[Lora, ...]:
        if request.loras:
            return tuple(self._lora(asked, may_fetch) for asked in request.loras)
        if request.loras is not None and request.lora_path is None and request.lora_scale is None:
            return ()
        if request.lora_path is not None:
            return (Lora(self._inside(request.lora_path, "lora_path"), self._weight(request.lora_scale)),)
        if self._settings.lora_path is not None:
            own = self._referred(self._settings.lora_path, "Z_LORA_PATH", may_fetch=True)
            return (Lora(own, self._weight(request.lora_scale)),)
        if request.lora_scale is not None:
            raise BadInput("lora_scale: given without lora_path, and this server has no adapter of its own.")
        return ()

    def _paths(self) -> list[Path]:
        return library.adapter_files(self._root)

    def by_id(self) -> dict[str, Path]:
        """Id → adapter."""
        return library.ids_of(self._paths(), self._root)

    def _tagged(self, tag: LoraTag, ids: Mapping[str, Path]) -> Path:
        """The adapter that a prompt names: by its name, its file's or its hash."""
        if not math.isfinite(tag.weight) or abs(tag.weight) > MAX_WEIGHT:
            raise BadInput(f"prompt: at character {tag.place + 1}: a weight is -{MAX_WEIGHT} to {MAX_WEIGHT}.")
        try:
            return self._inside(str(library.find(tag.name, ids)), "prompt")
        except BadInput as error:
            if len(tag.name) >= _DIGITS and set(tag.name.lower()) <= _HEXADECIMAL:
                with contextlib.suppress(BadInput):
                    return self._of_content(f"{BY_CONTENT}{tag.name}")
            raise BadInput(f"prompt: at character {tag.place + 1}: {error}") from None

    def _lora(self, asked: LoraRequest, may_fetch: bool) -> Lora:
        if asked.ref is not None and asked.ref.startswith(BY_CONTENT):
            return Lora(self._of_content(asked.ref), self._weight(asked.weight))
        if asked.ref is not None:
            return Lora(self._referred(asked.ref, "loras.ref", may_fetch), self._weight(asked.weight))
        if asked.path is not None:
            return Lora(self._inside(asked.path, "loras.path"), self._weight(asked.weight))
        assert asked.id is not None
        try:
            chosen = library.find(asked.id, self.by_id())
        except BadInput as error:
            inside = [path for path in self._paths() if path.parent == self._root / library.FOLDER / asked.id]
            # A folder is a name of the only adapter in it.
            if len(inside) != 1:
                raise BadInput(f"loras.id: {error} GET /models lists those there are.") from None
            chosen = inside[0]
        return Lora(self._inside(str(chosen), "loras.id"), self._weight(asked.weight))

    def _referred(self, ref: str, field: str, may_fetch: bool) -> Path:
        """The file that a reference leads to: one inside the models folder, or one that was fetched."""
        try:
            named = parse(ref, self._is_there)
        except BadInput as error:
            raise BadInput(f"{field}: {error}") from None
        if isinstance(named, Local):
            return self._inside(str(named.path), field)
        if isinstance(named, Named) and named.name not in entries():
            raise BadInput(f"{field}: {ref!r} is no adapter; adapters have an id, a path or a ref to where they are from.")
        if there := self._resolver.here(ref, kinds.ADAPTER):
            return header.read(there).file
        if not may_fetch:
            raise BadInput(f"{field}: {ref!r} must be fetched first, which requests may not make this server do.")
        with self._downloads.alone(ref):
            return header.read(self._resolver.path(ref, kinds.ADAPTER)).file

    def _is_there(self, path: Path) -> bool:
        return any((start / path).exists() for start in (Path.cwd(), self._root))

    def _of_content(self, ref: str) -> Path:
        digits = ref.removeprefix(BY_CONTENT).lower()
        if len(digits) < _DIGITS or not set(digits) <= _HEXADECIMAL:
            raise BadInput(f"loras.ref: {ref!r} is not sha256: and at least {_DIGITS} digits of a file's hash.")
        found = [path for path in self._paths() if (self._hash(path) or "").startswith(digits)]
        if not found:
            raise BadInput(f"loras.ref: no adapter here has a hash that begins with {digits}.")
        if len({self._hash(path) for path in found}) > 1:
            raise BadInput(f"loras.ref: several adapters have a hash that begins with {digits}; give more digits.")
        return self._inside(str(sorted(found)[0]), "loras.ref")

    def _hash(self, path: Path) -> str | None:
        """What answers tell of an adapter; None of a file that is none."""
        try:
            return self._known_hash(path)
        except BadInput:
            return None

    def _known_hash(self, path: Path) -> str:
        states = [each.stat() for each in reader.files(path)]
        version = _Version(path, tuple((state.st_size, state.st_mtime_ns) for state in states))
        if version not in self._hashes:
            self._hashes[version] = reader.hash_of(path)
        return self._hashes[version]

    def _weight(self, asked: float | None) -> float:
        return self._settings.lora_scale if asked is None else asked

    def _inside(self, path: str, field: str) -> Path:
        """The file or folder a request means: inside the models folder even after every link on the way is followed."""
        try:
            candidates = [(start / path).resolve() for start in (Path.cwd(), self._root)]
            inside = [candidate for candidate in candidates if candidate.is_relative_to(self._root)]
            there = [candidate for candidate in inside if candidate.exists()]
        except (OSError, ValueError, RuntimeError):  # a link that leads to itself is the last of these
            raise BadInput(f"{field}: {path!r} is no path.") from None
        if not inside:
            raise BadInput(f"{field}: {path!r} lies outside the models folder; give a path inside it.")
        if not there:
            raise BadInput(f"{field}: nothing is at {path!r}; GET /models lists the adapters there are.")
        # Of a folder the file in it, which may be a link of its own, and so may those that belong to it.
        file = header.read(there[0]).file.resolve()
        if not all(each.resolve().is_relative_to(self._root) for each in reader.files(file)):
            raise BadInput(f"{field}: {path!r} leads out of the models folder; give a path inside it.")
        return file
