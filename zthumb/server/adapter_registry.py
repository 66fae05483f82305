"""The adapters in the server's models folder: found by id, path or content hash; nothing outside the folder is reachable."""

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from foundation.errors import BadInput
from foundation.hashing import hash_value
from foundation.verdict import NAME as VERDICT
from foundation.verdict import Verdict, read_verdict
from zthumb.adapters import library, reader
from zthumb.adapters.adapter_cache import Lora
from zthumb.adapters.preview import preview_of
from zthumb.adapters.textual_inversion import trigger_of
from zthumb.checkpoints import header
from zthumb.generation.grammar.lora_tags import LoraTag
from zthumb.server.api.schemas import MAX_LORAS, GenerateRequest, LoraRequest
from zthumb.server.queue.download_guard import DownloadGuard
from zthumb.server.settings import MAX_WEIGHT, Settings
from zthumb.sources import kinds
from zthumb.sources.catalogue import entries
from zthumb.sources.reference import Local, Named, parse
from zthumb.sources.resolve import Resolver

HASH_PREFIX, _MIN_HASH_DIGITS = "sha256:", 8
_HEX_DIGITS = frozenset("0123456789abcdef")


@dataclass(frozen=True)
class _FileVersion:
    """An adapter file and the size and modification time of each file that belongs to it."""

    path: Path
    states: tuple[tuple[int, int], ...]


def _version(path: Path) -> _FileVersion:
    states = [file.stat() for file in reader.files(path)]
    return _FileVersion(path, tuple((state.st_size, state.st_mtime_ns) for state in states))


class AdapterRegistry:
    """The adapters in the models folder of a server, and outside it unless it ``is_confined``. Several threads may use it."""

    def __init__(self, settings: Settings, resolver: Resolver, is_confined: bool = True) -> None:
        self._settings, self._resolver, self._is_confined = settings, resolver, is_confined
        self._root = settings.models_folder.resolve()
        self._downloads = DownloadGuard()
        self._hashes: dict[_FileVersion, str] = {}
        self._triggers: dict[_FileVersion, str | None] = {}

    def public_path(self, path: Path) -> str:
        """Return an adapter's path as ``lora_path`` takes it; only the file name if it was downloaded to another folder."""
        return path.relative_to(self._root).as_posix() if path.is_relative_to(self._root) else path.name

    def public_paths(self) -> list[str]:
        """Return the path of every adapter, sorted."""
        return sorted(self.public_path(path) for path in self._adapter_files())

    def ids(self) -> list[str]:
        """Return the adapters' ids."""
        return list(self.paths_by_id())

    def verdicts(self) -> dict[str, Verdict]:
        """Return the evaluation verdicts by adapter path."""
        found = ((path, self.verdict(path)) for path in self._adapter_files())
        return {self.public_path(path): verdict for path, verdict in found if verdict}

    def verdict(self, path: Path) -> Verdict | None:
        """Return an adapter's verdict, from the file next to it, if it was given for exactly this adapter's content."""
        try:
            verdict = read_verdict(path.parent / VERDICT) if (path.parent / VERDICT).is_file() else None
        except (BadInput, OSError, ValueError):
            return None
        is_of_it = verdict and verdict.adapter_sha256 and verdict.adapter_sha256 == self._hash_or_none(path)
        return verdict if is_of_it else None

    def version(self, path: Path) -> str:
        """Return a text that changes when an adapter's files do; nothing is read."""
        return hash_value(_version(path).states)[:16]

    def preview(self, path: Path) -> Path | None:
        """Return the image that shows what an adapter does, if there is one beside it."""
        return preview_of(path, self._root)

    def trigger(self, path: Path) -> str | None:
        """Return the trigger word that an adapter's file says, or None."""
        with contextlib.suppress(BadInput, OSError, ValueError):
            version = _version(path)
            if version not in self._triggers:
                self._triggers[version] = trigger_of(path)
            return self._triggers[version]
        return None

    def requested_loras(
        self, request: GenerateRequest, may_fetch: bool, tags: Sequence[LoraTag], is_default_model: bool
    ) -> tuple[Lora, ...]:
        """Return the adapters that the fields of a request name, followed by those of the ``tags`` in its prompt.

        The server's default adapter is for its default model alone.

        Raises ``BadInput`` for an adapter that is not on this server and ``may_fetch`` forbids to download, for one that is named
        twice, and for too many.
        """
        if len(tags) > MAX_LORAS:
            raise BadInput(f"prompt: {len(tags)} adapters are named; the maximum is {MAX_LORAS}.")
        paths_by_id = self.paths_by_id() if tags else {}
        from_prompt = tuple(Lora(self._path_of_tag(tag, paths_by_id), tag.weight) for tag in tags)
        # If the prompt names adapters and the fields do not, the default adapter is not used.
        from_fields = () if tags and not request.names_adapters else self._loras_from_fields(request, may_fetch, is_default_model)
        loras = (*from_fields, *from_prompt)
        if len({lora.path for lora in loras}) < len(loras):
            raise BadInput(f"{'prompt' if tags else 'loras'}: names one adapter twice.")
        if len(loras) > MAX_LORAS:
            raise BadInput(f"prompt: {len(loras)} adapters are named; the maximum is {MAX_LORAS}.")
        return loras

    def _loras_from_fields(self, request: GenerateRequest, may_fetch: bool, is_default_model: bool) -> tuple[Lora, ...]:
        if request.loras:
            return tuple(self._lora(lora_request, may_fetch) for lora_request in request.loras)
        if request.loras is not None and request.lora_path is None and request.lora_scale is None:
            return ()
        if request.lora_path is not None:
            return (Lora(self._path_in_models_folder(request.lora_path, "lora_path"), self._weight(request.lora_scale)),)
        if self._settings.lora_path is not None and is_default_model:
            default_adapter = self._path_of_ref(self._settings.lora_path, "Z_LORA_PATH", may_fetch=True)
            return (Lora(default_adapter, self._weight(request.lora_scale)),)
        if request.lora_scale is not None:
            raise BadInput("lora_scale: given without lora_path, and this server has no default adapter for this model.")
        return ()

    def _adapter_files(self) -> list[Path]:
        return library.adapter_files(self._root)

    def paths_by_id(self) -> dict[str, Path]:
        """Return the path of each adapter by its id."""
        return library.ids_of(self._adapter_files(), self._root)

    def _path_of_tag(self, tag: LoraTag, paths_by_id: Mapping[str, Path]) -> Path:
        """Return the adapter that a tag in the prompt names by its id, its file's name or its hash."""
        if not math.isfinite(tag.weight) or abs(tag.weight) > MAX_WEIGHT:
            raise BadInput(f"prompt: at character {tag.place + 1}: a weight must be -{MAX_WEIGHT} to {MAX_WEIGHT}.")
        try:
            return self._path_in_models_folder(str(library.find(tag.name, paths_by_id)), "prompt")
        except BadInput as error:
            if len(tag.name) >= _MIN_HASH_DIGITS and set(tag.name.lower()) <= _HEX_DIGITS:
                with contextlib.suppress(BadInput):
                    return self._path_of_hash(f"{HASH_PREFIX}{tag.name}")
            raise BadInput(f"prompt: at character {tag.place + 1}: {error}") from None

    def _lora(self, request: LoraRequest, may_fetch: bool) -> Lora:
        if request.ref is not None and request.ref.startswith(HASH_PREFIX):
            return Lora(self._path_of_hash(request.ref), self._weight(request.weight))
        if request.ref is not None:
            return Lora(self._path_of_ref(request.ref, "loras.ref", may_fetch), self._weight(request.weight))
        if request.path is not None:
            return Lora(self._path_in_models_folder(request.path, "loras.path"), self._weight(request.weight))
        assert request.id is not None
        try:
            path = library.find(request.id, self.paths_by_id())
        except BadInput as error:
            in_folder = [path for path in self._adapter_files() if path.parent == self._root / library.FOLDER / request.id]
            # A folder's name also names the adapter in it if it is the only one.
            if len(in_folder) != 1:
                raise BadInput(f"loras.id: {error} GET /models lists the adapters.") from None
            path = in_folder[0]
        return Lora(self._path_in_models_folder(str(path), "loras.id"), self._weight(request.weight))

    def _path_of_ref(self, ref: str, field: str, may_fetch: bool) -> Path:
        """Return the file that a reference names: one inside the models folder, or a downloaded one."""
        try:
            reference = parse(ref, self._exists)
        except BadInput as error:
            raise BadInput(f"{field}: {error}") from None
        if isinstance(reference, Local):
            return self._path_in_models_folder(str(reference.path), field)
        if isinstance(reference, Named) and reference.name not in entries():
            raise BadInput(f"{field}: {ref!r} is not an adapter; name an adapter by its id, its path or a ref to its source.")
        if downloaded := self._resolver.here(ref, kinds.ADAPTER):
            return header.read(downloaded).file
        if not may_fetch:
            raise BadInput(
                f"{field}: {ref!r} must be downloaded first, and requests may not download here (ZTHUMB_DOWNLOAD_ON_REQUEST)."
            )
        with self._downloads.single_flight(ref):
            return header.read(self._resolver.path(ref, kinds.ADAPTER)).file

    def _exists(self, path: Path) -> bool:
        return any((start / path).exists() for start in (Path.cwd(), self._root))

    def _path_of_hash(self, ref: str) -> Path:
        digits = ref.removeprefix(HASH_PREFIX).lower()
        if len(digits) < _MIN_HASH_DIGITS or not set(digits) <= _HEX_DIGITS:
            raise BadInput(f"loras.ref: {ref!r} is not sha256: followed by at least {_MIN_HASH_DIGITS} digits of a file's hash.")
        matches = [path for path in self._adapter_files() if (self._hash_or_none(path) or "").startswith(digits)]
        if not matches:
            raise BadInput(f"loras.ref: no adapter here has a hash that begins with {digits}.")
        if len({self._hash_or_none(path) for path in matches}) > 1:
            raise BadInput(f"loras.ref: several adapters have a hash that begins with {digits}; give more digits.")
        return self._path_in_models_folder(str(sorted(matches)[0]), "loras.ref")

    def _hash_or_none(self, path: Path) -> str | None:
        """Return the hash that responses give for an adapter; None for a file that is not an adapter."""
        try:
            return self._hash(path)
        except BadInput:
            return None

    def _hash(self, path: Path) -> str:
        version = _version(path)
        if version not in self._hashes:
            self._hashes[version] = reader.hash_of(path)
        return self._hashes[version]

    def _weight(self, weight: float | None) -> float:
        return self._settings.lora_scale if weight is None else weight

    def _path_in_models_folder(self, path: str, field: str) -> Path:
        """Return the adapter file at ``path``, a file or folder that is inside the models folder even after following links.

        Where nothing is confined to the models folder, it may be anywhere.
        """
        try:
            candidates = [(start / path).resolve() for start in (Path.cwd(), self._root)]
            inside = [candidate for candidate in candidates if self._may_read(candidate)]
            existing = [candidate for candidate in inside if candidate.exists()]
        except (OSError, ValueError, RuntimeError):  # RuntimeError: a link that points to itself
            raise BadInput(f"{field}: {path!r} is not a valid path.") from None
        if not inside:
            raise BadInput(f"{field}: {path!r} is outside the models folder; give a path inside it.")
        if not existing:
            raise BadInput(f"{field}: {path!r} does not exist; GET /models lists the adapters.")
        # For a folder, the file in it, which may itself be a link, as may the files that belong to it.
        file = header.read(existing[0]).file.resolve()
        if not all(self._may_read(part.resolve()) for part in reader.files(file)):
            raise BadInput(f"{field}: {path!r} is a link out of the models folder; give a path inside it.")
        return file

    def _may_read(self, path: Path) -> bool:
        return not self._is_confined or path.is_relative_to(self._root)
