"""The loaded backends: chooses the backend of a request, loads it, and generates batches of requests with it."""

import gc
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from foundation.device import choose_device, free_bytes, free_cached_memory, limit_memory, peak_bytes, reset_peak_bytes
from foundation.errors import BadInput, StageFailed
from foundation.plugins import suggestion
from zthumb import backends, families
from zthumb.adapters.adapter_cache import AppliedAdapters
from zthumb.backends.base import BackendInfo, BaseBackend, Options, WeightsLocation
from zthumb.backends.full import dtype_of
from zthumb.families.base import Limits, ModelFamily
from zthumb.generation.parameters import GenerationParams
from zthumb.memory import usage
from zthumb.memory.estimate import ImageShape
from zthumb.memory.plan import Plan, Subject, predict
from zthumb.server.queue.generation_queue import Cancelled, GenerationResult, IdleTask, QueuedRequest
from zthumb.server.queue.loaded_backends import LoadedBackends, LocationKey
from zthumb.server.queue.memory_planner import MemoryPlanner, PlannedBackend
from zthumb.server.queue.weights_locator import WeightsLocator
from zthumb.server.request_resolver import BackendKey, Model
from zthumb.server.settings import Settings
from zthumb.sources.bases import check, check_base
from zthumb.sources.local import family_of
from zthumb.sources.reference import parse
from zthumb.sources.resolve import Resolver

if TYPE_CHECKING:
    from PIL import Image

_SMALL_TILE = 512
_HEADROOM = 1.3
"""Memory that generation takes, as a multiple of the size of the weights; used to choose a variant."""


class OutOfMemory(StageFailed):
    """Memory ran out, even in the mode that takes the least of it."""


class BackendPool:
    """Backends, each loaded when it is first needed.

    ``backend`` and ``generate`` must be called in the generator thread; ``choose`` and the queries may be called in any thread.
    """

    def __init__(self, settings: Settings, resolver: Resolver) -> None:
        """Check the server's own model; ``BadInput`` if there is no base."""
        self.settings, self._resolver = settings, resolver
        self.default_model = Model(settings.model, settings.vae)
        self.locator = WeightsLocator(settings, resolver, self.default_model)
        self._device = choose_device(settings.device)
        self._planner = MemoryPlanner.of(settings, self._device)
        self.loaded = LoadedBackends(self._device, settings.idle_unload_s)
        self._info: dict[LocationKey, BackendInfo] = {}
        if settings.gpu_memory_utilization is not None:
            limit_memory(self._device, settings.gpu_memory_utilization)
        self._check_default_model()

    def _check_default_model(self) -> None:
        """Report at once what can be found wrong without downloading anything or reading a file to its end."""
        is_local = self._is_local_folder(self.default_model.base)
        if not is_local and not self.settings.turbo_model:
            check_base(self.default_model.base)
        if self.settings.text_encoder is not None:
            check(parse(self.settings.text_encoder))
        has_own_parts = self.default_model.vae is None and self.settings.text_encoder is None
        if (is_local or self.settings.turbo_model) and has_own_parts:
            self.locations(self.default_model)
            if self._planner is not None:
                self.choose("auto", self.default_model)

    def _is_local_folder(self, reference: str) -> bool:
        path = self._resolver.here(reference)
        return path is not None and path.is_dir()

    def locations(self, model: Model) -> Mapping[str, WeightsLocation]:
        """Return the weights of each available variant of ``model``, as ``WeightsLocator`` finds them; it may be downloaded."""
        return self.locator.locations(model)

    def choose(self, variant: str, model: Model) -> tuple[BackendKey, str]:
        """Return the backend of ``model`` for a request that asks for ``variant``, which may be ``auto``, and the reason.

        ``auto`` takes the first variant that fits into the free memory, or else the smallest. Raises ``BadInput`` for a variant
        that is unknown or not available.
        """
        locations = self.locations(model)
        if variant != "auto":
            if variant not in backends.names():
                raise BadInput(f"variant: there is no variant {variant!r}. {suggestion(variant, ['auto', *locations])}")
            if variant not in locations:
                raise BadInput(f"variant: no weights for {variant} are available, only for {', '.join(locations)}.")
            return BackendKey(model, variant), "the request names it"
        if self._planner is not None:
            name, reason = self._planner.choose({name: self._subject(BackendKey(model, name)) for name in locations})
            return BackendKey(model, name), reason
        free, reasons, needed_bytes = (
            free_bytes(self._device, self.settings.gpu_memory_utilization),
            list[str](),
            dict[str, float](),
        )
        for name, location in locations.items():
            is_loaded = self.is_loaded(BackendKey(model, name))
            needed_bytes[name] = (
                0 if is_loaded else backends.get(name).weights_bytes(location, self._bytes_per_number) * _HEADROOM
            )
            if needed_bytes[name] <= free:
                reason = "is loaded" if is_loaded else f"needs {_gib(needed_bytes[name])} of {_gib(free)} free"
                return BackendKey(model, name), "; ".join([*reasons, f"{name} {reason}"])
            reasons.append(f"{name} would need {_gib(needed_bytes[name])} of {_gib(free)} free")
        smallest = min(needed_bytes, key=lambda name: needed_bytes[name])
        return BackendKey(model, smallest), "; ".join([*reasons, f"{smallest} is tried anyway"])

    def largest_batch(self, backend_key: BackendKey, params: GenerationParams, images: int) -> int:
        """Return how many of ``images`` as ``params`` are generated at once; ``BadInput`` if the memory budget holds none."""
        most = min(images, self.settings.batch_size)
        if self._planner is None:
            return most
        return self._planner.largest_batch(self._subject(backend_key), params, most)

    def predict(self, backend_key: BackendKey, params: GenerationParams, count: int) -> Plan:
        """Return the memory of generating ``count`` images as ``params`` at once, with the weights as this pool keeps them."""
        options, subject = self._options(backend_key), self._subject(backend_key)
        shape = ImageShape(params.height, params.width, count, params.guidance_scale, options.tile)
        return predict(subject.base, shape, options.placement, options.quantization, options.blocks_to_swap)

    def usual_plan(self, backend_key: BackendKey) -> tuple[Plan, tuple[int, int]]:
        """Return how a backend's weights are kept, with the memory of one image of its own size, and that width and height."""
        options, subject = self._options(backend_key), self._subject(backend_key)
        (width, height), guidance_scale = subject.size, self.limits(backend_key).default_guidance_scale
        shape = ImageShape(height, width, 1, guidance_scale, options.tile)
        return predict(subject.base, shape, options.placement, options.quantization, options.blocks_to_swap), subject.size

    def _subject(self, backend_key: BackendKey) -> PlannedBackend:
        """The backend as the planner needs it."""
        location = self.locations(backend_key.model)[backend_key.variant]
        backend, dtype = backends.get(backend_key.variant), dtype_of(self.settings.options, self._device)
        possible = backend.placements(location, self.settings.options, self._device.type)
        return PlannedBackend(
            base=Subject(
                self.family(backend_key.model), location.base, dtype, self._device.type, backend.denoiser_bytes(location)
            ),
            placements=tuple(name for name, reason in possible.items() if not reason),
            size=self.size(backend_key.model),
        )

    def _options(self, backend_key: BackendKey) -> Options:
        options = self.settings.options if self._planner is None else self._planner.options(self._subject(backend_key))
        location = self.locations(backend_key.model)[backend_key.variant]
        # Calibrated for the server's own base, and none of another model's.
        is_calibrated = backend_key.model == self.default_model and location.base == self._base(backend_key.model)
        return options if is_calibrated else replace(options, salience=None)

    def family(self, model: Model) -> ModelFamily:
        """Return the family of ``model``."""
        return families.get(family_of(self._base(model)))

    def limits(self, backend_key: BackendKey) -> Limits:
        """Return what a request may ask of a variant; a base distilled to few steps limits every variant of it."""
        family, location = self.family(backend_key.model), self.locations(backend_key.model)[backend_key.variant]
        if location.few_step_adapter is not None:
            return family.few_step_adapter_limits or family.few_step_limits
        if family.is_few_step(location.base):
            return family.few_step_limits
        return backends.get(backend_key.variant).limits(family)

    def size(self, model: Model) -> tuple[int, int]:
        """Return the width and height in pixels that ``model`` was trained at.

        For the server's own model the setting takes precedence.
        """
        if model == self.default_model and self.settings.training_resolution is not None:
            return self.settings.training_resolution
        edge = self.family(model).resolution(self._base(model))
        return edge, edge

    def _base(self, model: Model) -> Path:
        return next(iter(self.locations(model).values())).base

    def is_loaded(self, backend_key: BackendKey) -> bool:
        """Return whether the backend is in memory now."""
        return self._location_key(backend_key) in self.loaded

    def info(self, backend_key: BackendKey) -> BackendInfo:
        """Return the description of a backend that was loaded before, even if it was unloaded since."""
        return self._info[self._location_key(backend_key)]

    def base_sha256(self, backend_key: BackendKey) -> str:
        """Return the hash of what the backend loads, which reads all of it once."""
        location_key = self._location_key(backend_key)
        if location_key in self._info:
            return self._info[location_key].base_sha256
        return backends.get(backend_key.variant).hash_of(self.locations(backend_key.model)[backend_key.variant])

    @property
    def when_idle(self) -> IdleTask:
        """What the generator thread does while it has nothing to generate."""
        return IdleTask(self.loaded.seconds_until_idle, self.loaded.unload_idle)

    def unload(self) -> None:
        """Free the memory of every backend; the next request loads its own again. Must be called in the generator thread."""
        self.loaded.clear()

    def backend(self, backend_key: BackendKey) -> BaseBackend:
        """Return the backend; load it if need be."""
        key = self._location_key(backend_key)
        if key not in self.loaded:
            self._free_memory_for(backend_key)
            location = self.locations(backend_key.model)[backend_key.variant]
            backend = backends.get(backend_key.variant)(location, self._options(backend_key))
            self._info[key] = backend.info
            self.loaded.add(key, backend, self._subject(backend_key), backend_key.model.base in self.settings.pinned)
        return self.loaded.use(key)

    def _location_key(self, backend_key: BackendKey) -> LocationKey:
        location = self.locations(backend_key.model)[backend_key.variant]
        return backend_key.variant, location.denoiser.resolve(), location.base.resolve()

    def _free_memory_for(self, backend_key: BackendKey) -> None:
        """Unload other backends, as far as this one does not fit into memory next to them; ``BadInput`` if pinned ones remain."""
        if self._planner is not None:
            self._keep_budget(backend_key, self._planner.plan(self._subject(backend_key)).peak)
            return
        location = self.locations(backend_key.model)[backend_key.variant]
        needed = backends.get(backend_key.variant).weights_bytes(location, self._bytes_per_number) * _HEADROOM
        # Memory that torch keeps for later is free.
        free_cached_memory(self._device)
        self.loaded.make_room(
            lambda: needed <= free_bytes(self._device, self.settings.gpu_memory_utilization), self._location_key(backend_key)
        )

    def _keep_budget(self, backend_key: BackendKey, peak: int) -> None:
        """Unload other backends, as far as ``peak`` bytes for this one exceed the budget; ``BadInput`` if pinned ones remain."""
        planner, key = self._planner, self._location_key(backend_key)
        assert planner is not None

        def fits() -> bool:
            return planner.fits_beside(peak, self.loaded.planned_beside(key))

        self.loaded.make_room(fits, keep=key)
        if not fits():
            raise BadInput(
                f"memory: {backend_key.model.base} does not fit beside the pinned models. Pin fewer, or raise MEMORY_BUDGET."
            )

    def generate(self, batch: Sequence[QueuedRequest]) -> None:
        """Generate requests that can be batched, and set the result of each."""
        started = time.monotonic()
        self.loaded.unload_idle()
        reset_peak_bytes(self._device)
        # Out of memory: try again without other backends, then with the least memory: one image at a time, decoded in tiles.
        backend_key = batch[0].resolved.backend_key
        images_wanted = sum(len(queued.resolved.params) for queued in batch)
        batch_size = self.largest_batch(backend_key, batch[0].resolved.params[0], images_wanted)
        if self._planner is not None:
            # More at once, or a larger image, may take more than what was planned beside the others.
            self._keep_budget(backend_key, self.predict(backend_key, batch[0].resolved.params[0], batch_size).peak)
        result = self._attempt(batch, batch_size)
        if result is None and self._free_memory(keep=backend_key):
            result = self._attempt(batch, batch_size)
        if result is None:
            self._free_memory(keep=backend_key)
            result = self._attempt(batch, batch_size=1, tile=_SMALL_TILE)
        if result is None:
            raise OutOfMemory(
                "there is not enough memory for this request, even with one image at a time decoded in tiles. Ask for smaller "
                "images or fewer adapters."
            )
        images = iter(result.images)
        for queued, truncated_text in zip(batch, result.truncated_texts, strict=True):
            queued.future.set_result(
                GenerationResult(
                    images=tuple(next(images) for _ in queued.resolved.params),
                    applied=result.applied,
                    truncated_text=truncated_text,
                    queue_s=started - queued.submitted_at,
                    lora_s=result.lora_s,
                    generate_s=result.generate_s,
                    batch_size=result.batch_size,
                    tile=result.tile,
                    peak_bytes=peak_bytes(self._device),
                )
            )

    def _attempt(self, batch: Sequence[QueuedRequest], batch_size: int, tile: int | None = None) -> "_BatchResult | None":
        """Generate all requests; return None if memory ran out."""
        try:
            backend_key = batch[0].resolved.backend_key
            result = _generate_with_adapters(self.backend(backend_key), batch, batch_size, tile)
            # However long it took, it was not idle.
            self.loaded.use(self._location_key(backend_key))
            return result
        except Exception as error:
            if not usage.is_short(error):
                raise
        # Return only here, after the exception is released: its frames hold every tensor of the failed call.
        return None

    def _free_memory(self, keep: BackendKey) -> bool:
        """Free all memory that is not needed: unload the other backends, which load again on demand, and the cached adapters.

        Return whether another backend was unloaded.
        """
        loaded_before = len(list(self.loaded))
        self.loaded.make_room(lambda: False, self._location_key(keep))
        for backend in self.loaded:
            backend.free_cache()
        gc.collect()
        free_cached_memory(self._device)
        return len(list(self.loaded)) < loaded_before

    @property
    def _bytes_per_number(self) -> int:
        precision = self.settings.precision
        return 4 if precision == "fp32" or (precision == "auto" and self._device.type == "cpu") else 2


@dataclass(frozen=True)
class _BatchResult:
    images: list["Image.Image"]
    applied: AppliedAdapters
    truncated_texts: tuple[Mapping[str, str], ...]
    lora_s: float
    generate_s: float
    batch_size: int
    tile: int | None


def _generate_with_adapters(
    backend: BaseBackend, batch: Sequence[QueuedRequest], batch_size: int, tile: int | None = None
) -> _BatchResult:
    """Generate the images of all requests with the adapters that they share."""
    batch_size = 1 if batch[0].resolved.deterministic else batch_size
    started = time.monotonic()
    with backend.apply_lora(batch[0].resolved.loras) as applied:
        adapters_applied = time.monotonic()
        images = _generate_images(backend, batch, applied.learned_tokens, batch_size, tile)
        truncated_texts = tuple(_truncated_text(backend, queued.resolved.params[0], applied.learned_tokens) for queued in batch)
    return _BatchResult(
        images,
        applied,
        truncated_texts,
        lora_s=adapters_applied - started,
        generate_s=time.monotonic() - adapters_applied,
        batch_size=min(len(images), batch_size),
        tile=tile,
    )


def _truncated_text(backend: BaseBackend, params: GenerationParams, learned_tokens: Mapping[str, int]) -> dict[str, str]:
    """Return the ends of both prompts that are not encoded, by the field of the request."""
    fields = {"prompt": params, "negative_prompt": replace(params, prompt=params.negative_prompt or "")}
    truncated = {field: backend.truncated_text(field_params, learned_tokens) for field, field_params in fields.items()}
    return {field: end for field, end in truncated.items() if end}


def _generate_images(
    backend: BaseBackend, batch: Sequence[QueuedRequest], learned_tokens: Mapping[str, int], batch_size: int, tile: int | None
) -> list["Image.Image"]:
    """Generate the images of all requests, ``batch_size`` at a time."""
    params = [params for queued in batch for params in queued.resolved.params]
    groups = list(_groups(params, batch_size))
    steps_done, images = 0, list["Image.Image"]()
    # Index of each request's first image → the request.
    starts = accumulate((len(queued.resolved.params) for queued in batch), initial=0)
    requests_by_start = dict(zip(starts, batch, strict=False))

    def on_step(step: int, latents: torch.Tensor) -> None:
        if all(queued.is_cancelled for queued in batch):
            raise Cancelled
        for queued in batch:
            queued.progress = (steps_done + step) / (len(groups) * params[0].steps)
        for index in range(len(latents)):
            if request := requests_by_start.get(len(images) + index):
                request.preview = partial(backend.preview, latents[index : index + 1])

    for group in groups:
        images += backend.generate(group, on_step, learned_tokens, tile)
        steps_done += params[0].steps
    return images


def _groups(params: Sequence[GenerationParams], batch_size: int) -> Iterator[Sequence[GenerationParams]]:
    return (params[start : start + batch_size] for start in range(0, len(params), batch_size))


def _gib(size: float) -> str:
    return f"{size / 2**30:.1f} GiB"
