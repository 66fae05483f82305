"""The service behind the routes: resolves requests, queues them, waits for their images and describes the server."""

import asyncio
import base64
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import get_args

from foundation.errors import BadInput, SourceFailed
from zthumb.generation import prompts
from zthumb.memory import budget as budgets
from zthumb.server.api.schemas import (
    MAX_BATCH,
    MAX_LORAS,
    BackendCapabilities,
    CapabilitiesResponse,
    GeneratedImage,
    GenerateRequest,
    GenerateResponse,
    ModelsResponse,
    PresetLoraResponse,
    PresetResponse,
    PresetsResponse,
    ReadyResponse,
)
from zthumb.server.engine import Engine
from zthumb.server.metrics import Metrics
from zthumb.server.queue.download_guard import run_in_thread
from zthumb.server.queue.generation_queue import GenerationQueue, GenerationResult, QueuedRequest
from zthumb.server.request_resolver import BackendKey, Model, ResolvedRequest
from zthumb.server.settings import OutputFormat, Settings
from zthumb.server.storage.image_encoder import encode_image
from zthumb.sources import hub
from zthumb.sources.reference import shown
from zthumb.sources.resolve import Resolver

_LOG = logging.getLogger("zthumb")
_POLL_S = 0.1
"""How often a waiting request checks whether its client is still connected."""


class NotReady(Exception):
    """The base model is not loaded yet, or cannot be loaded; the message says which."""


class GenerationTimeout(Exception):
    """A request took longer than the time limit."""


class Service(Engine):
    """One server: an engine behind a queue. It is ready once it has generated an image."""

    def __init__(self, settings: Settings, resolver: Resolver) -> None:
        """See ``Engine``."""
        super().__init__(settings, resolver)
        self.queue: GenerationQueue | None = None
        self.metrics = Metrics(lambda: self.queue.depth if self.queue else 0, lambda: float(self._default_key is not None))
        self._failure: str | None = None
        self._default_key: BackendKey | None = None

    async def start(self) -> None:
        """Download the base if need be, load it in the generator thread and generate one image before any request is accepted.

        That image is generated with the default adapter, so that it is loaded too.
        """
        self.queue = GenerationQueue(
            self.pool.generate,
            capacity=self.settings.queue_capacity,
            batch_size=self.settings.batch_size,
            on_result=self.metrics.generated,
            when_idle=self.pool.when_idle,
        )
        try:
            await run_in_thread(lambda: self.pool.locations(self.pool.default_model))
            backend_key, _ = self.pool.choose("auto", self.pool.default_model)
            await asyncio.wrap_future(self.queue.call(lambda: self.pool.backend(backend_key)))
            warm_up = GenerateRequest(prompt="", steps=1, seed=0, variant=backend_key.variant)
            resolved = await run_in_thread(lambda: super(Service, self).resolve(warm_up))
            await asyncio.wrap_future(self.queue.submit(resolved).future)
            self._default_key = backend_key
        except Exception as error:
            # Whatever failed, the server keeps running and reports it.
            is_expected = isinstance(error, (BadInput, SourceFailed))
            self._failure = (
                self.without_local_paths(str(error)) if is_expected else f"the base cannot be loaded ({type(error).__name__})"
            )
            _LOG.error("zthumb is not ready: %s", self._failure, exc_info=not is_expected)

    def free_memory(self) -> None:
        """Unload all models once the images that are being generated are done; the next request loads its own again."""
        if self.queue is not None:
            self.queue.call(self.pool.unload)

    async def stop(self, timeout: float) -> None:
        """Finish the queued requests within ``timeout`` seconds, then cancel the rest."""
        if self.queue is not None:
            await asyncio.to_thread(self.queue.close, timeout)

    def ready(self) -> ReadyResponse:
        """Return whether an image was generated at startup, and the reason if that failed."""
        return ReadyResponse(ready=self._default_key is not None, failed=self._failure is not None, reason=self._failure)

    def _not_ready(self) -> NotReady:
        return NotReady(self._failure or "the base is still being loaded; GET /health/ready says when it is ready")

    def resolve(self, request: GenerateRequest) -> ResolvedRequest:
        """See ``Engine``; ``NotReady`` before the first image."""
        if self._default_key is None:
            raise self._not_ready()
        return super().resolve(request)

    async def generate(self, request: GenerateRequest, is_disconnected: Callable[[], Awaitable[bool]]) -> GenerateResponse:
        """Generate the images of one request and return them in the response."""
        resolved, result = await self.run(request, is_disconnected)
        return await asyncio.to_thread(self.to_response, resolved, result)

    async def run(
        self, request: GenerateRequest, is_disconnected: Callable[[], Awaitable[bool]]
    ) -> tuple[ResolvedRequest, GenerationResult]:
        """Generate the images of one request; cancel it if the client ``is_disconnected`` or the time limit is over."""
        resolved = await run_in_thread(lambda: self.resolve(request))
        assert self.queue is not None
        queued = self.queue.submit(resolved)
        return resolved, await self._wait(queued, is_disconnected)

    async def _wait(self, queued: QueuedRequest, is_disconnected: Callable[[], Awaitable[bool]]) -> GenerationResult:
        waiting = asyncio.wrap_future(queued.future)
        deadline = asyncio.get_running_loop().time() + self.settings.timeout_s
        while not waiting.done():
            await asyncio.wait([waiting], timeout=_POLL_S)
            is_late = asyncio.get_running_loop().time() > deadline
            if not waiting.done() and (is_late or await is_disconnected()):
                queued.cancel()
                if is_late:
                    raise GenerationTimeout(f"cancelled after {self.settings.timeout_s:g} s (ZTHUMB_TIMEOUT_S)")
                break
        return await waiting

    def to_response(self, resolved: ResolvedRequest, result: GenerationResult) -> GenerateResponse:
        """Return the response to a request, with the encoded images in it."""
        meta = self.meta(resolved, result)
        images = [
            GeneratedImage(seed=params.seed, b64_json=_base64(data))
            for params, data in zip(resolved.params, self.encode(resolved, result, meta), strict=True)
        ]
        return GenerateResponse(images=images, meta=meta, warnings=self.warnings(resolved, result))

    def preview(self, queued: QueuedRequest) -> str | None:
        """Return a small preview of a request's first image, as a base64 PNG; None before its first step."""
        return _base64(encode_image(queued.preview(), "png", {})) if queued.preview else None

    def without_local_paths(self, message: str) -> str:
        """Return a message without the folders on this server's disk that its models are in."""
        cache = hub.cache_folder(self.resolver.hub_cache)
        message = message.replace(f"{self.settings.data_folder}", self.settings.data_folder.name)
        for folder in (self.settings.models_folder, self.settings.download_folder, cache):
            if folder is not None:
                message = message.replace(f"{folder.resolve()}/", "").replace(f"{folder.resolve()}", "models")
        for location in self.pool.locator.known():
            for path in (location.denoiser, location.base):
                for parent in {path.parent, path.parent.resolve()} - {Path()}:
                    message = message.replace(f"{parent}/", "")
        return message

    def base(self) -> tuple[str, str]:
        """Return the reference to the base, without secrets in it, and its SHA-256."""
        if self._default_key is None:
            raise self._not_ready()
        return shown(self.settings.model), self.pool.info(self._default_key).base_sha256

    def plan(self) -> str:
        """Return in words how the base is kept in memory and what an image of its own size is predicted to take; or why not."""
        if self._default_key is None:
            return str(self._not_ready())
        plan, (width, height) = self.pool.usual_plan(self._default_key)
        budget = self.settings.memory_budget
        limit = f"within MEMORY_BUDGET={budget}" if budget else "without a budget"
        return f"{self._default_key.variant}: {plan.words}; {budgets.shown(plan.peak)} for {width} × {height}, {limit}"

    def models(self) -> ModelsResponse:
        """Return what this server serves."""
        if self._default_key is None:
            raise self._not_ready()
        info, locations = self.pool.info(self._default_key), self.pool.locations(self.pool.default_model)
        return ModelsResponse(
            base=shown(self.settings.model),
            base_sha256=info.base_sha256,
            family=info.family,
            backends=list(locations),
            resolution=self.pool.size(self.pool.default_model)[0],
            loras=self.registry.public_paths(),
            lora_ids=self.registry.ids(),
            verdicts=self.registry.verdicts(),
            lora_loaded=self.settings.lora_path is not None,
            lora_path=self.settings.lora_path,
            lora_scale=self.settings.lora_scale,
            device=info.device,
            precision=info.precision,
        )

    def list_presets(self) -> PresetsResponse:
        """Return the presets, and whether their base models are on this machine."""
        return PresetsResponse(
            presets={
                name: PresetResponse(
                    **{**preset.model_dump(exclude={"loras"}), **preset.public_model_names},
                    loras=[PresetLoraResponse(**{**lora.model_dump(), "ref": shown(lora.ref)}) for lora in preset.loras],
                    is_here=self.pool.locator.is_local(Model(preset.base or self.settings.model, preset.vae)),
                )
                for name, preset in self.presets.items()
            }
        )

    def capabilities(self) -> CapabilitiesResponse:
        """Return the available variants and the limits of requests."""
        variants, family = {}, self.pool.family(self.pool.default_model)
        for name, location in self.pool.locations(self.pool.default_model).items():
            limits = self.pool.limits(BackendKey(self.pool.default_model, name))
            variants[name] = BackendCapabilities(
                base=location.denoiser.name,
                is_loaded=self.pool.is_loaded(BackendKey(self.pool.default_model, name)),
                steps=limits.steps,
                default_steps=limits.default_steps,
                cfg=limits.guidance_scale,
                default_cfg=limits.default_guidance_scale,
            )
        return CapabilitiesResponse(
            variants=variants,
            schedulers=list(family.schedulers),
            output_formats=list(get_args(OutputFormat)),
            prompt_parsers=prompts.names(),
            max_batch=MAX_BATCH,
            max_loras=MAX_LORAS,
            size=(64, 2048),
            size_multiple=family.size_multiple,
        )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
