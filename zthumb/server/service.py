"""What the routes ask: orders taken, waited for and answered, and whether the server is ready."""

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
from zthumb.server.dispatcher import Dispatcher, GenerationResult, Ticket
from zthumb.server.fetching import apart
from zthumb.server.files import encoded
from zthumb.server.metrics import Metrics
from zthumb.server.orders import Model, Order, Orders, Seat
from zthumb.server.schemas import (
    MAX_BATCH,
    MAX_LORAS,
    AppliedLora,
    BackendCapabilities,
    CapabilitiesAnswer,
    GenerateAnswer,
    GeneratedImage,
    GenerateRequest,
    Meta,
    ModelsAnswer,
    PresetAnswer,
    PresetLoraAnswer,
    PresetsAnswer,
    ReadyAnswer,
    Timings,
)
from zthumb.server.settings import OutputFormat, Settings
from zthumb.server.shelf import Shelf
from zthumb.server.studio import Studio
from zthumb.sources import hub
from zthumb.sources.reference import shown
from zthumb.sources.resolve import Resolver

_LOG = logging.getLogger("zthumb")
_LOOK_S = 0.1
"""How often a waiting request looks whether its client is still there."""


class NotReady(Exception):
    """The base is not loaded yet, or cannot be; the message says which."""


class TookTooLong(Exception):
    """A request was given up after the time it is allowed."""


class Service:
    """One server: a studio behind a dispatcher. It is ready once it has made a real image."""

    def __init__(self, settings: Settings, resolver: Resolver) -> None:
        """``BadInput`` when there is no base, or a preset is wrong."""
        self.settings, self.resolver = settings, resolver
        if "presets_folder" in settings.model_fields_set and not settings.presets_folder.is_dir():
            raise BadInput(f"ZTHUMB_PRESETS_FOLDER: no folder is at {settings.presets_folder}.")
        self.presets = presets.read(settings.presets_folder)
        self.studio, self.shelf = Studio(settings, resolver), Shelf(settings, resolver)
        self.dispatcher: Dispatcher | None = None
        self.metrics = Metrics(lambda: self.dispatcher.depth if self.dispatcher else 0, lambda: float(self._orders is not None))
        self._orders: Orders | None = None
        self._failure: str | None = None
        self._first: Seat | None = None

    async def start(self) -> None:
        """Fetch the base if need be, load it in the generator's thread and make an image, before any request's.

        The default adapter is on it then.
        """
        self.dispatcher = Dispatcher(
            self.studio.generate, self.settings.queue_room, self.settings.together, self.metrics.generated
        )
        try:
            await apart(lambda: self.studio.places(self.studio.own))
            seat, _ = self.studio.choose("auto", self.studio.own)
            backend = await asyncio.wrap_future(self.dispatcher.call(lambda: self.studio.backend(seat)))
            orders = Orders(self.settings, self.shelf)
            first = GenerateRequest(prompt="", steps=1, seed=0)
            order = orders.of(first, seat, "", backend.limits, self.studio.size(seat.model))
            await asyncio.wrap_future(self.dispatcher.submit(order).done)
            self._first, self._orders = seat, orders
        except Exception as error:
            # Whatever it is, the server stays to say so.
            told = isinstance(error, (BadInput, SourceFailed))
            self._failure = self.public(str(error)) if told else f"the base cannot be loaded ({type(error).__name__})"
            _LOG.error("zthumb is not ready: %s", self._failure, exc_info=not told)

    async def stop(self, timeout: float) -> None:
        """Finish what was begun and end."""
        if self.dispatcher is not None:
            await asyncio.to_thread(self.dispatcher.close, timeout)

    def ready(self) -> ReadyAnswer:
        """Whether a real image was made."""
        return ReadyAnswer(ready=self._orders is not None, failed=self._failure is not None, reason=self._failure)

    @property
    def orders(self) -> Orders:
        """Makes orders out of requests; ``NotReady`` before the first image."""
        if self._orders is None:
            raise self._unready()
        return self._orders

    def _unready(self) -> NotReady:
        return NotReady(self._failure or "the base is being loaded; GET /health/ready tells when it is")

    def order(self, request: GenerateRequest) -> Order:
        """What ``request`` means; ``BadInput`` says what of it cannot be."""
        orders, model, has_presets_loras = self.orders, self.studio.own, False
        if request.preset is not None:
            preset = presets.chosen(self.presets, request.preset)
            has_presets_loras = not request.names_adapters
            request = preset.filled_in(request)
            model = Model(preset.base or model.base, preset.vae if preset.base else preset.vae or model.vae)
        seat, why = self.studio.choose(request.variant, model)
        return orders.of(request, seat, why, self.studio.limits(seat.variant), self.studio.size(model), has_presets_loras)

    async def generate(self, request: GenerateRequest, is_gone: Callable[[], Awaitable[bool]]) -> GenerateAnswer:
        """Make the images of one request and answer with them."""
        order, result = await self.run(request, is_gone)
        return await asyncio.to_thread(self.answer, order, result)

    async def run(self, request: GenerateRequest, is_gone: Callable[[], Awaitable[bool]]) -> tuple[Order, GenerationResult]:
        """Make the images of one request; they are given up when the client ``is_gone`` or it takes too long."""
        order = await apart(lambda: self.order(request))
        assert self.dispatcher is not None
        ticket = self.dispatcher.submit(order)
        return order, await self._wait(ticket, is_gone)

    async def _wait(self, ticket: Ticket, is_gone: Callable[[], Awaitable[bool]]) -> GenerationResult:
        waiting = asyncio.wrap_future(ticket.done)
        deadline = asyncio.get_running_loop().time() + self.settings.timeout_s
        while not waiting.done():
            await asyncio.wait([waiting], timeout=_LOOK_S)
            is_late = asyncio.get_running_loop().time() > deadline
            if not waiting.done() and (is_late or await is_gone()):
                ticket.cancel()
                if is_late:
                    raise TookTooLong(f"given up after {self.settings.timeout_s:g} s")
                break
        return await waiting

    def answer(self, order: Order, result: GenerationResult) -> GenerateAnswer:
        """The images of an order, in the answer itself."""
        meta = self.meta(order, result)
        files = [
            GeneratedImage(seed=params.seed, b64_json=_base64(encoded(image, order.output_format, told)))
            for params, image in zip(order.params, result.images, strict=True)
            for told in [self.parameters(order, params, meta)]
        ]
        return GenerateAnswer(images=files, meta=meta, warnings=self.warnings(order, result))

    def warnings(self, order: Order, result: GenerationResult) -> list[str]:
        """What should be known of the images of an order."""
        told = [*order.warnings, *result.applied.notes]
        for field, end in result.unread.items():
            told.append(f"{field}: its end is not read: {end[:80]!r}. prompt_parser lpw and compel read all of it.")
        if result.tile is not None:
            told.append(f"memory was short: decoded in tiles of {result.tile} pixels, which shifts colours a little.")
        return told

    def meta(self, order: Order, result: GenerationResult) -> Meta:
        """How the images of an order were made."""
        first = order.params[0]
        return Meta(
            backend=order.seat.variant,
            variant=order.seat.variant,
            base=shown(order.seat.model.base),
            why=order.why,
            scheduler=first.scheduler or self.studio.facts(order.seat).scheduler,
            steps=first.steps,
            cfg=first.guidance_scale,
            width=first.width,
            height=first.height,
            together=result.together,
            timings=Timings(queue=round(result.queue_s, 4), lora=round(result.lora_s, 4), generate=round(result.generate_s, 4)),
            peak_memory_mb=round(result.peak_bytes / 2**20, 1),
            words=list(result.applied.words),
            loras=[
                AppliedLora(path=self.shelf.named(lora.path), weight=lora.weight, sha256=sha256, trigger=trigger)
                for lora, sha256, trigger in zip(order.loras, result.applied.sha256, order.triggers, strict=True)
            ],
        )

    def parameters(self, order: Order, params: GenerationParams, meta: Meta) -> dict[str, Any]:
        """What makes an image again, and nothing of when or how fast it was made: the same image is the same file."""
        return {
            **asdict(params),
            "scheduler": meta.scheduler,
            "variant": meta.variant,
            "loras": [lora.model_dump() for lora in meta.loras],
            "base_sha256": self.studio.facts(order.seat).base_sha256,
        }

    def preview(self, ticket: Ticket) -> str | None:
        """What the first image of a ticket looks like so far, small, a PNG as base64; None before its first step."""
        return _base64(encoded(ticket.preview(), "png", {})) if ticket.preview else None

    def public(self, told: str) -> str:
        """A message without where on this server's disk its models are."""
        cache = hub.cache_folder(self.resolver.hub_cache)
        for folder in (self.settings.models_folder, self.settings.fetched_folder, cache):
            if folder is not None:
                told = told.replace(f"{folder.resolve()}/", "").replace(f"{folder.resolve()}", "models")
        for place in self.studio.known_places():
            for path in (place.denoiser, place.base):
                for parent in {path.parent, path.parent.resolve()} - {Path()}:
                    told = told.replace(f"{parent}/", "")
        return told

    def base(self) -> tuple[str, str]:
        """The base as it may be told, and its hash."""
        if self._first is None:
            raise self._unready()
        return shown(self.settings.model), self.studio.facts(self._first).base_sha256

    def models(self) -> ModelsAnswer:
        """What is served."""
        if self._first is None:
            raise self._unready()
        facts, own = self.studio.facts(self._first), self.studio.places(self.studio.own)
        return ModelsAnswer(
            base=shown(self.settings.model),
            base_sha256=facts.base_sha256,
            family=facts.family,
            backends=list(own),
            resolution=self.studio.size(self.studio.own)[0],
            loras=self.shelf.files(),
            lora_ids=self.shelf.ids(),
            verdicts=self.shelf.verdicts(),
            lora_loaded=self.settings.lora_path is not None,
            lora_path=self.settings.lora_path,
            lora_scale=self.settings.lora_scale,
            device=facts.device,
            precision=facts.precision,
        )

    def known_presets(self) -> PresetsAnswer:
        """The presets, and whether their bases are here."""
        return PresetsAnswer(
            presets={
                name: PresetAnswer(
                    **{**preset.model_dump(exclude={"loras"}), **preset.names},
                    loras=[PresetLoraAnswer(**{**lora.model_dump(), "ref": shown(lora.ref)}) for lora in preset.loras],
                    is_here=self.studio.is_here(Model(preset.base or self.settings.model, preset.vae)),
                )
                for name, preset in self.presets.items()
            }
        )

    def capabilities(self) -> CapabilitiesAnswer:
        """What can be asked for."""
        variants = {}
        for name, place in self.studio.places(self.studio.own).items():
            limits = backends.get(name).limits
            variants[name] = BackendCapabilities(
                base=place.denoiser.name,
                is_loaded=self.studio.is_loaded(Seat(self.studio.own, name)),
                steps=limits.steps,
                default_steps=limits.default_steps,
                cfg=limits.guidance_scale,
                default_cfg=limits.default_guidance_scale,
            )
        return CapabilitiesAnswer(
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
