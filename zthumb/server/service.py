"""What the routes ask: requests taken, waited for and answered, and whether the server is ready."""

import asyncio
import base64
import logging
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from foundation.errors import BadInput, SourceFailed
from zthumb import backends, prompts
from zthumb.generation.image_generator import GenerationParams
from zthumb.generation.schedulers import NAMES
from zthumb.server import presets
from zthumb.server.adapter_registry import AdapterRegistry
from zthumb.server.backend_pool import BackendPool
from zthumb.server.download_guard import run_in_thread
from zthumb.server.files import encoded
from zthumb.server.generation_queue import GenerationQueue, GenerationResult, QueuedRequest
from zthumb.server.metrics import Metrics
from zthumb.server.request_resolver import BackendKey, Model, RequestResolver, ResolvedRequest
from zthumb.server.schemas import (
    MAX_BATCH,
    MAX_LORAS,
    AppliedLora,
    BackendCapabilities,
    CapabilitiesResponse,
    GeneratedImage,
    GenerateRequest,
    GenerateResponse,
    Meta,
    ModelsResponse,
    PresetLoraResponse,
    PresetResponse,
    PresetsResponse,
    ReadyResponse,
    Timings,
)
from zthumb.server.settings import OutputFormat, Settings
from zthumb.sources import hub
from zthumb.sources.reference import shown
from zthumb.sources.resolve import Resolver

_LOG = logging.getLogger("zthumb")
_LOOK_S = 0.1
"""How often a waiting request looks whether its client is still there."""


class NotReady(Exception):
    """The base is not loaded yet, or cannot be; the message says which."""


class GenerationTimeout(Exception):
    """A request was given up after the time it is allowed."""


class Service:
    """One server: a backend pool behind a queue. It is ready once it has made a real image."""

    def __init__(self, settings: Settings, resolver: Resolver) -> None:
        """``BadInput`` when there is no base, or a preset is wrong."""
        self.settings, self.resolver = settings, resolver
        if "presets_folder" in settings.model_fields_set and not settings.presets_folder.is_dir():
            raise BadInput(f"ZTHUMB_PRESETS_FOLDER: no folder is at {settings.presets_folder}.")
        self.presets = presets.read(settings.presets_folder)
        self.pool, self.registry = BackendPool(settings, resolver), AdapterRegistry(settings, resolver)
        self.queue: GenerationQueue | None = None
        self.metrics = Metrics(lambda: self.queue.depth if self.queue else 0, lambda: float(self._request_resolver is not None))
        self._request_resolver: RequestResolver | None = None
        self._failure: str | None = None
        self._first: BackendKey | None = None

    async def start(self) -> None:
        """Fetch the base if need be, load it in the generator's thread and make an image, before any request's.

        The default adapter is on it then.
        """
        self.queue = GenerationQueue(self.pool.generate, self.settings.queue_room, self.settings.together, self.metrics.generated)
        try:
            await run_in_thread(lambda: self.pool.places(self.pool.own))
            backend_key, _ = self.pool.choose("auto", self.pool.own)
            backend = await asyncio.wrap_future(self.queue.call(lambda: self.pool.backend(backend_key)))
            request_resolver = RequestResolver(self.settings, self.registry)
            first = GenerateRequest(prompt="", steps=1, seed=0)
            resolved = request_resolver.of(first, backend_key, "", backend.limits, self.pool.size(backend_key.model))
            await asyncio.wrap_future(self.queue.submit(resolved).done)
            self._first, self._request_resolver = backend_key, request_resolver
        except Exception as error:
            # Whatever it is, the server stays to say so.
            told = isinstance(error, (BadInput, SourceFailed))
            self._failure = self.public(str(error)) if told else f"the base cannot be loaded ({type(error).__name__})"
            _LOG.error("zthumb is not ready: %s", self._failure, exc_info=not told)

    async def stop(self, timeout: float) -> None:
        """Finish what was begun and end."""
        if self.queue is not None:
            await asyncio.to_thread(self.queue.close, timeout)

    def ready(self) -> ReadyResponse:
        """Whether a real image was made."""
        return ReadyResponse(ready=self._request_resolver is not None, failed=self._failure is not None, reason=self._failure)

    @property
    def request_resolver(self) -> RequestResolver:
        """Resolves requests; ``NotReady`` before the first image."""
        if self._request_resolver is None:
            raise self._unready()
        return self._request_resolver

    def _unready(self) -> NotReady:
        return NotReady(self._failure or "the base is being loaded; GET /health/ready tells when it is")

    def resolved(self, request: GenerateRequest) -> ResolvedRequest:
        """What ``request`` means; ``BadInput`` says what of it cannot be."""
        request_resolver, model, has_presets_loras = self.request_resolver, self.pool.own, False
        if request.preset is not None:
            preset = presets.chosen(self.presets, request.preset)
            has_presets_loras = not request.names_adapters
            request = preset.filled_in(request)
            model = Model(preset.base or model.base, preset.vae if preset.base else preset.vae or model.vae)
        backend_key, why = self.pool.choose(request.variant, model)
        return request_resolver.of(
            request, backend_key, why, self.pool.limits(backend_key.variant), self.pool.size(model), has_presets_loras
        )

    async def generate(self, request: GenerateRequest, is_gone: Callable[[], Awaitable[bool]]) -> GenerateResponse:
        """Make the images of one request and answer with them."""
        resolved, result = await self.run(request, is_gone)
        return await asyncio.to_thread(self.answer, resolved, result)

    async def run(
        self, request: GenerateRequest, is_gone: Callable[[], Awaitable[bool]]
    ) -> tuple[ResolvedRequest, GenerationResult]:
        """Make the images of one request; they are given up when the client ``is_gone`` or it takes too long."""
        resolved = await run_in_thread(lambda: self.resolved(request))
        assert self.queue is not None
        queued = self.queue.submit(resolved)
        return resolved, await self._wait(queued, is_gone)

    async def _wait(self, queued: QueuedRequest, is_gone: Callable[[], Awaitable[bool]]) -> GenerationResult:
        waiting = asyncio.wrap_future(queued.done)
        deadline = asyncio.get_running_loop().time() + self.settings.timeout_s
        while not waiting.done():
            await asyncio.wait([waiting], timeout=_LOOK_S)
            is_late = asyncio.get_running_loop().time() > deadline
            if not waiting.done() and (is_late or await is_gone()):
                queued.cancel()
                if is_late:
                    raise GenerationTimeout(f"given up after {self.settings.timeout_s:g} s")
                break
        return await waiting

    def answer(self, resolved: ResolvedRequest, result: GenerationResult) -> GenerateResponse:
        """The images of a request, in the answer itself."""
        meta = self.meta(resolved, result)
        files = [
            GeneratedImage(seed=params.seed, b64_json=_base64(encoded(image, resolved.output_format, told)))
            for params, image in zip(resolved.params, result.images, strict=True)
            for told in [self.parameters(resolved, params, meta)]
        ]
        return GenerateResponse(images=files, meta=meta, warnings=self.warnings(resolved, result))

    def warnings(self, resolved: ResolvedRequest, result: GenerationResult) -> list[str]:
        """What should be known of the images of a request."""
        told = [*resolved.warnings, *result.applied.notes]
        for field, end in result.unread.items():
            told.append(f"{field}: its end is not read: {end[:80]!r}. prompt_parser lpw and compel read all of it.")
        if result.tile is not None:
            told.append(f"memory was short: decoded in tiles of {result.tile} pixels, which shifts colours a little.")
        return told

    def meta(self, resolved: ResolvedRequest, result: GenerationResult) -> Meta:
        """How the images of a request were made."""
        first = resolved.params[0]
        return Meta(
            backend=resolved.backend_key.variant,
            variant=resolved.backend_key.variant,
            base=shown(resolved.backend_key.model.base),
            why=resolved.why,
            scheduler=first.scheduler or self.pool.info(resolved.backend_key).scheduler,
            steps=first.steps,
            cfg=first.guidance_scale,
            width=first.width,
            height=first.height,
            together=result.together,
            timings=Timings(queue=round(result.queue_s, 4), lora=round(result.lora_s, 4), generate=round(result.generate_s, 4)),
            peak_memory_mb=round(result.peak_bytes / 2**20, 1),
            words=list(result.applied.words),
            loras=[
                AppliedLora(path=self.registry.named(lora.path), weight=lora.weight, sha256=sha256, trigger=trigger)
                for lora, sha256, trigger in zip(resolved.loras, result.applied.sha256, resolved.triggers, strict=True)
            ],
        )

    def parameters(self, resolved: ResolvedRequest, params: GenerationParams, meta: Meta) -> dict[str, Any]:
        """What makes an image again, and nothing of when or how fast it was made: the same image is the same file."""
        return {
            **asdict(params),
            "scheduler": meta.scheduler,
            "variant": meta.variant,
            "loras": [lora.model_dump() for lora in meta.loras],
            "base_sha256": self.pool.info(resolved.backend_key).base_sha256,
        }

    def preview(self, queued: QueuedRequest) -> str | None:
        """What the first image of a request looks like so far, small, a PNG as base64; None before its first step."""
        return _base64(encoded(queued.preview(), "png", {})) if queued.preview else None

    def public(self, told: str) -> str:
        """A message without where on this server's disk its models are."""
        cache = hub.cache_folder(self.resolver.hub_cache)
        for folder in (self.settings.models_folder, self.settings.fetched_folder, cache):
            if folder is not None:
                told = told.replace(f"{folder.resolve()}/", "").replace(f"{folder.resolve()}", "models")
        for place in self.pool.known_places():
            for path in (place.denoiser, place.base):
                for parent in {path.parent, path.parent.resolve()} - {Path()}:
                    told = told.replace(f"{parent}/", "")
        return told

    def base(self) -> tuple[str, str]:
        """The base as it may be told, and its hash."""
        if self._first is None:
            raise self._unready()
        return shown(self.settings.model), self.pool.info(self._first).base_sha256

    def models(self) -> ModelsResponse:
        """What is served."""
        if self._first is None:
            raise self._unready()
        info, own = self.pool.info(self._first), self.pool.places(self.pool.own)
        return ModelsResponse(
            base=shown(self.settings.model),
            base_sha256=info.base_sha256,
            family=info.family,
            backends=list(own),
            resolution=self.pool.size(self.pool.own)[0],
            loras=self.registry.files(),
            lora_ids=self.registry.ids(),
            verdicts=self.registry.verdicts(),
            lora_loaded=self.settings.lora_path is not None,
            lora_path=self.settings.lora_path,
            lora_scale=self.settings.lora_scale,
            device=info.device,
            precision=info.precision,
        )

    def known_presets(self) -> PresetsResponse:
        """The presets, and whether their bases are here."""
        return PresetsResponse(
            presets={
                name: PresetResponse(
                    **{**preset.model_dump(exclude={"loras"}), **preset.names},
                    loras=[PresetLoraResponse(**{**lora.model_dump(), "ref": shown(lora.ref)}) for lora in preset.loras],
                    is_here=self.pool.is_here(Model(preset.base or self.settings.model, preset.vae)),
                )
                for name, preset in self.presets.items()
            }
        )

    def capabilities(self) -> CapabilitiesResponse:
        """What can be asked for."""
        variants = {}
        for name, place in self.pool.places(self.pool.own).items():
            limits = backends.get(name).limits
            variants[name] = BackendCapabilities(
                base=place.denoiser.name,
                is_loaded=self.pool.is_loaded(BackendKey(self.pool.own, name)),
                steps=limits.steps,
                default_steps=limits.default_steps,
                cfg=limits.guidance_scale,
                default_cfg=limits.default_guidance_scale,
            )
        return CapabilitiesResponse(
            variants=variants,
            schedulers=list(NAMES),
            output_formats=list(get_args(OutputFormat)),
            prompt_parsers=prompts.names(),
            max_batch=MAX_BATCH,
            max_loras=MAX_LORAS,
            size=(64, 2048),
        )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
