"""The loaded backends: which one a request goes to, and how a batch of requests is generated."""

import gc
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from foundation.errors import BadInput
from foundation.plugins import suggestion
from zthumb import backends, families
from zthumb.adapters.adapter_cache import Applied
from zthumb.backends.base import BackendInfo, BaseBackend, Limits, WeightsLocation
from zthumb.generation.image_generator import GenerationParams
from zthumb.memory import room
from zthumb.server.download_guard import DownloadGuard
from zthumb.server.generation_queue import Cancelled, GenerationResult, QueuedRequest
from zthumb.server.request_resolver import BackendKey, Model
from zthumb.server.settings import Settings
from zthumb.sources import kinds
from zthumb.sources.bases import check_base, find_base
from zthumb.sources.local import family_of
from zthumb.sources.resolve import Resolver

if TYPE_CHECKING:
    from PIL import Image

_SMALL_TILE = 512
_HEADROOM = 1.3
"""What generating takes, as a multiple of the weights, for the choice of a variant."""


_Spot = tuple[str, Path, Path]


class OutOfMemory(Exception):
    """There was not enough memory, with the least that can be done either."""


class BackendPool:
    """Backends, loaded when they are first asked for. All but ``choose`` and what tells of them is for the generator's thread."""

    def __init__(self, settings: Settings, resolver: Resolver) -> None:
        """``BadInput`` when there is no base."""
        self.settings, self._resolver = settings, resolver
        self.own = Model(settings.model, settings.vae)
        self._places: dict[Model, Mapping[str, WeightsLocation]] = {}
        self._downloads = DownloadGuard()
        # By variant and where it lies: two names of one base are one in memory.
        self._loaded: dict[_Spot, BaseBackend] = {}
        self._info: dict[_Spot, BackendInfo] = {}
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._check()

    def _check(self) -> None:
        """Tell at once what can be told without fetching anything or reading a file to its end."""
        is_here = self._is_folder(self.own.base)
        if not is_here and not self.settings.turbo_model:
            check_base(self.own.base)
        if (is_here or self.settings.turbo_model) and self.own.vae is None:
            self.places(self.own)

    def _is_folder(self, reference: str) -> bool:
        found = self._resolver.here(reference)
        return found is not None and found.is_dir()

    def places(self, model: Model) -> Mapping[str, WeightsLocation]:
        """The variants there are of ``model``, the preferred first, each with what it runs; it is fetched now if need be.

        ``BeingFetched`` if another request waits for that already.
        """
        if model not in self._places:
            with self._downloads.alone(model.base):
                self._places[model] = self._found(model)
        return self._places[model]

    def known_places(self) -> list[WeightsLocation]:
        """What was looked up so far, of all models."""
        return [place for places in list(self._places.values()) for place in places.values()]

    def is_here(self, model: Model) -> bool:
        """Whether ``model`` can be generated with and nothing fetched."""
        named = [(model.base, kinds.MODEL), *([(model.vae, kinds.AUTOENCODER)] if model.vae else [])]
        return model in self._places or all(self._resolver.here(*each) is not None for each in named)

    def choose(self, asked: str, model: Model) -> tuple[BackendKey, str]:
        """The variant of ``model`` for a request that ``asked`` for one, and why; ``BadInput`` when it is not here."""
        places = self.places(model)
        if asked != "auto":
            if asked not in backends.names():
                raise BadInput(f"variant: none is called {asked!r}. {suggestion(asked, ['auto', *places])}")
            if asked not in places:
                raise BadInput(f"variant: no base for {asked} is here; there are {', '.join(places)}.")
            return BackendKey(model, asked), "it was asked for"
        free, told, needs = room.free(self._device), list[str](), dict[str, float]()
        for name, place in places.items():
            is_loaded = self.is_loaded(BackendKey(model, name))
            needs[name] = 0 if is_loaded else backends.get(name).weights(place, self._element) * _HEADROOM
            if needs[name] <= free:
                how = "is loaded" if is_loaded else f"needs {_gib(needs[name])} of {_gib(free)} that are free"
                return BackendKey(model, name), "; ".join([*told, f"{name} {how}"])
            told.append(f"{name} would need {_gib(needs[name])} of {_gib(free)} that are free")
        least = min(needs, key=lambda name: needs[name])
        return BackendKey(model, least), "; ".join([*told, f"{least} is tried all the same"])

    def limits(self, variant: str) -> Limits:
        """What the variant can be asked for."""
        return backends.get(variant).limits

    def size(self, model: Model) -> tuple[int, int]:
        """Width and height in pixels that ``model`` was trained at; what the settings say is of the server's own."""
        if model == self.own and self.settings.training_resolution is not None:
            return self.settings.training_resolution
        base = next(iter(self.places(model).values())).base
        edge = families.get(family_of(base)).resolution(base)
        return edge, edge

    def is_loaded(self, backend_key: BackendKey) -> bool:
        """Whether that backend is in memory now."""
        return self._spot(backend_key) in self._loaded

    def info(self, backend_key: BackendKey) -> BackendInfo:
        """What is true of a backend that was loaded before."""
        return self._info[self._spot(backend_key)]

    def backend(self, backend_key: BackendKey) -> BaseBackend:
        """That backend, loaded now if need be."""
        spot = self._spot(backend_key)
        if spot not in self._loaded:
            self._make_room(backend_key)
            self._loaded[spot] = backends.get(backend_key.variant)(
                self.places(backend_key.model)[backend_key.variant], self.settings.options
            )
            self._info[spot] = self._loaded[spot].info
        return self._loaded[spot]

    def _spot(self, backend_key: BackendKey) -> _Spot:
        place = self.places(backend_key.model)[backend_key.variant]
        return backend_key.variant, place.denoiser.resolve(), place.base.resolve()

    def _make_room(self, backend_key: BackendKey) -> None:
        """Give other backends back where ``backend``'s would not fit beside them."""
        place = self.places(backend_key.model)[backend_key.variant]
        if self._loaded and backends.get(backend_key.variant).weights(place, self._element) * _HEADROOM > room.free(self._device):
            self._give_back(keep=backend_key)

    def generate(self, batch: Sequence[QueuedRequest]) -> None:
        """GenerateBatch requests that go together, and set what each is done with."""
        began = time.monotonic()
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        # Once more when other backends are given back, then with less: one image at a time, decoded in tiles.
        done, backend_key = self._attempt(batch, self.settings.together), batch[0].resolved.backend_key
        if done is None and self._give_back(keep=backend_key):
            done = self._attempt(batch, self.settings.together)
        if done is None:
            self._give_back(keep=backend_key)
            done = self._attempt(batch, together=1, tile=_SMALL_TILE)
        if done is None:
            raise OutOfMemory(
                "there is not enough memory for this request, one image at a time and decoded in tiles too. Ask for smaller "
                "images or fewer adapters."
            )
        images = iter(done.images)
        for queued, unread in zip(batch, done.unread, strict=True):
            queued.done.set_result(
                GenerationResult(
                    images=tuple(next(images) for _ in queued.resolved.params),
                    applied=done.applied,
                    unread=unread,
                    queue_s=began - queued.came,
                    lora_s=done.lora_s,
                    generate_s=done.generate_s,
                    together=done.together,
                    tile=done.tile,
                    peak_bytes=room.peak(self._device),
                )
            )

    def _attempt(self, batch: Sequence[QueuedRequest], together: int, tile: int | None = None) -> "_Done | None":
        """The images of all requests; None where memory ran out."""
        try:
            return _under_adapters(self.backend(batch[0].resolved.backend_key), batch, together, tile)
        except Exception as error:
            if not room.is_short(error):
                raise
        # The exception is gone now: it holds on to every tensor of what it came out of.
        return None

    def _give_back(self, keep: BackendKey) -> bool:
        """All that can be done without: the other backends, which are loaded again when they are asked for, and adapters.

        Whether there was another backend.
        """
        before = len(self._loaded)
        kept = self._spot(keep)
        self._loaded = {spot: backend for spot, backend in self._loaded.items() if spot == kept}
        for backend in self._loaded.values():
            backend.free_cache()
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        return len(self._loaded) < before

    def _found(self, model: Model) -> dict[str, WeightsLocation]:
        try:
            base = find_base(model.base, model.vae, self._resolver)
        except BadInput:
            # A server may have the few-step base alone.
            if model != self.own or not self.settings.turbo_model:
                raise
            base = Path(model.base)
        found = {}
        for name in sorted(backends.names(), key=lambda name: backends.get(name).preference):
            told = getattr(self.settings, f"{name}_model", None) if model == self.own else None
            place = backends.get(name).find(base, self._named(name, told) if told else None)
            if place is not None:
                found[name] = place
            elif told:
                raise BadInput(f"ZTHUMB_{name.upper()}_MODEL: nothing that variant {name} can run is at {told}.")
        return found

    def _named(self, variant: str, reference: str) -> Path:
        try:
            path = self._resolver.path(reference)
            return path if path.suffix == ".gguf" else find_base(reference, None, self._resolver)
        except BadInput as error:
            raise BadInput(f"ZTHUMB_{variant.upper()}_MODEL: {error}") from None

    @property
    def _element(self) -> int:
        asked = self.settings.precision
        return 4 if asked == "fp32" or (asked == "auto" and self._device.type == "cpu") else 2


@dataclass(frozen=True)
class _Done:
    images: list["Image.Image"]
    applied: Applied
    unread: tuple[Mapping[str, str], ...]
    lora_s: float
    generate_s: float
    together: int
    tile: int | None


def _under_adapters(backend: BaseBackend, batch: Sequence[QueuedRequest], together: int, tile: int | None = None) -> _Done:
    """The images of all requests under the adapters that they share."""
    together = 1 if batch[0].resolved.deterministic else together
    started = time.monotonic()
    with backend.under(batch[0].resolved.loras) as applied:
        ready = time.monotonic()
        images = _generated(backend, batch, applied.words, together, tile)
        unread = tuple(_unread(backend, queued.resolved.params[0], applied.words) for queued in batch)
    return _Done(images, applied, unread, ready - started, time.monotonic() - ready, min(len(images), together), tile)


def _unread(backend: BaseBackend, params: GenerationParams, words: Mapping[str, int]) -> dict[str, str]:
    """The ends of both prompts that are not read, by the field of the request."""
    told = {"prompt": params, "negative_prompt": replace(params, prompt=params.negative_prompt or "")}
    found = {field: backend.unread(each, words) for field, each in told.items()}
    return {field: end for field, end in found.items() if end}


def _generated(
    backend: BaseBackend, batch: Sequence[QueuedRequest], words: Mapping[str, int], together: int, tile: int | None
) -> list["Image.Image"]:
    """The images of all requests, so many at once."""
    params = [params for queued in batch for params in queued.resolved.params]
    groups = list(_groups(params, together))
    done, made = 0, list["Image.Image"]()
    # The number of each request's first image → the request.
    starts = accumulate((len(queued.resolved.params) for queued in batch), initial=0)
    firsts = dict(zip(starts, batch, strict=False))

    def watch(step: int, latents: torch.Tensor) -> None:
        if all(queued.is_cancelled for queued in batch):
            raise Cancelled
        for queued in batch:
            queued.progress = (done + step) / (len(groups) * params[0].steps)
        for place in range(len(latents)):
            if shown := firsts.get(len(made) + place):
                shown.preview = partial(backend.preview, latents[place : place + 1])

    for group in groups:
        made += backend.generate(group, watch, words, tile)
        done += params[0].steps
    return made


def _groups(params: Sequence[GenerationParams], together: int) -> Iterator[Sequence[GenerationParams]]:
    return (params[start : start + together] for start in range(0, len(params), together))


def _gib(size: float) -> str:
    return f"{size / 2**30:.1f} GiB"
