"""A request as what is to be painted: every default filled in, every path looked at, everything impossible refused."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from foundation.errors import BadInput
from foundation.trigger import contains_trigger
from zthumb import prompts
from zthumb.adapters.loaded import Lora
from zthumb.adapters.words import trigger_of
from zthumb.backends.base import Limits
from zthumb.painting.painter import Picture
from zthumb.prompts.base import Malformed, is_plain
from zthumb.server.schemas import GenerateRequest
from zthumb.server.settings import OutputFormat, Settings
from zthumb.server.shelf import Shelf

_SEEDS = 2**32


@dataclass(frozen=True)
class Model:
    """A base by what names it, and an autoencoder in place of its own if one is named."""

    base: str
    vae: str | None = None


@dataclass(frozen=True)
class Seat:
    """Where an order is painted: a variant of a model."""

    model: Model
    variant: str


@dataclass(frozen=True)
class Order:
    """Pictures to be painted in ``seat``, and ``why`` in that one, under ``loras``, and how their files are written.

    ``triggers`` are the words that were put before the prompt, one for each adapter or None. ``cost`` is in steps of one picture
    of the base's own size.
    """

    seat: Seat
    why: str
    pictures: tuple[Picture, ...]
    loras: tuple[Lora, ...]
    triggers: tuple[str | None, ...]
    deterministic: bool
    isolated: bool
    output_format: OutputFormat
    cost: float
    warnings: tuple[str, ...] = ()

    def goes_with(self, other: "Order") -> bool:
        """Whether both can be painted at once: they differ in prompts and seeds alone."""
        are_social = not any((self.deterministic, self.isolated, other.deterministic, other.isolated))
        return are_social and self._kind == other._kind

    @property
    def _kind(self) -> tuple[object, ...]:
        first = self.pictures[0]
        # Without a negative prompt the denoiser is told zeros, with an empty one what the text encoders make of it.
        is_told = first.negative_prompt is not None
        how = (
            first.width,
            first.height,
            first.original_size,
            first.steps,
            first.guidance_scale,
            first.scheduler,
            first.prompt_parser,
        )
        return (self.seat, self.loras, is_told, how, self._length)

    @property
    def _length(self) -> tuple[str, ...]:
        """Alike for prompts that are told in as many tokens; filling one up would change its picture."""
        first = self.pictures[0]
        texts = [text for text in (first.prompt, first.negative_prompt) if text is not None]
        # Adapters may bring words of many tokens.
        is_usual = first.prompt_parser == "plain" or (not self.loras and all(is_plain(text) for text in texts))
        return () if is_usual else tuple(texts)


@dataclass(frozen=True)
class Orders:
    """Makes orders out of requests for adapters on ``shelf``."""

    settings: Settings
    shelf: Shelf

    def of(
        self, request: GenerateRequest, seat: Seat, why: str, limits: Limits, size: tuple[int, int], is_preset: bool = False
    ) -> Order:
        """The order that ``request`` means; ``size`` is the base's own in pixels. ``BadInput`` says what of it cannot be.

        With ``is_preset`` its adapters are those of a preset, which may always be fetched: who keeps this server wrote it.
        """
        steps = _within(limits.steps, request.steps, limits.default_steps, "steps", seat.variant)
        guidance = _within(limits.guidance_scale, request.cfg, limits.default_guidance_scale, "cfg", seat.variant)
        seed = secrets.randbelow(_SEEDS) if request.seed is None else request.seed
        width, height = request.width or size[0], request.height or size[1]
        parser = request.prompt_parser or self.settings.prompt_parser
        loras = self.shelf.asked(request, may_fetch=is_preset or self.settings.may_fetch)
        prompt, triggers, told = _with_triggers(request, parser, loras)
        _check_prompts(parser, {"prompt": request.prompt, "negative_prompt": request.negative_prompt or ""})
        # With trigger words before it, it may be another thing.
        _check_prompts(parser, {"prompt with its trigger words": prompt})
        one = Picture(
            prompt=prompt,
            negative_prompt=request.negative_prompt,
            width=width,
            height=height,
            seed=seed,
            steps=int(steps),
            guidance_scale=guidance,
            scheduler=request.scheduler,
            prompt_parser=parser,
            original_size=self.settings.training_resolution if self._is_own(seat) else None,
        )
        pictures = tuple(replace(one, seed=seed + turn) for turn in range(request.batch))
        cost = steps * request.batch * width * height / (size[0] * size[1])
        if cost > self.settings.queue_room:
            raise BadInput(
                f"steps × pictures × pixels: {cost:.0f} is more than this server takes at once ({self.settings.queue_room}). Ask "
                "for less, or in several requests."
            )
        warnings = (*told, *_warnings(request, guidance))
        return Order(
            seat=seat,
            why=why,
            pictures=pictures,
            loras=loras,
            triggers=triggers,
            deterministic=request.deterministic,
            isolated=request.isolated,
            output_format=request.output_format or self.settings.output_format,
            cost=cost,
            warnings=warnings,
        )

    def _is_own(self, seat: Seat) -> bool:
        return seat.model == Model(self.settings.model, self.settings.vae)


def _check_prompts(parser: str, texts: Mapping[str, str]) -> None:
    for field, text in texts.items():
        try:
            prompts.get(parser).check(text)
        except Malformed as error:
            raise BadInput(f"{field}: {error} (prompt_parser {parser}).") from None


def _with_triggers(
    request: GenerateRequest, parser: str, loras: Sequence[Lora]
) -> tuple[str, tuple[str | None, ...], tuple[str, ...]]:
    """The prompt behind the trigger words that were asked for; those words; what should be known of them."""
    triggers, warnings, prompt = list[str | None](), list[str](), request.prompt
    # One that is named by lora_path has no trigger weight.
    named = request.loras or []
    for asked, lora in zip(named, loras, strict=False):
        trigger = None
        if asked.trigger_weight:
            trigger = asked.trigger or trigger_of(lora.path)
            if trigger is None:
                raise BadInput(f"loras.trigger_weight: {lora.path.name} tells no trigger word; give one as trigger.")
            if trigger in triggers or contains_trigger(prompt, trigger):
                warnings.append(f"the prompt has the trigger word {trigger!r} already; it was not put before it again.")
                trigger = None
        triggers.append(trigger)
    told = [
        _weighted(parser, trigger, asked.trigger_weight)
        for trigger, asked in zip(triggers, named, strict=True)
        if trigger is not None
    ]
    return ", ".join([*told, prompt]), tuple(triggers) or (None,) * len(loras), tuple(warnings)


def _weighted(parser: str, trigger: str, weight: float) -> str:
    try:
        return prompts.get(parser).weighted(trigger, weight)
    except ValueError as error:
        raise BadInput(f"loras.trigger_weight: {error}.") from None


def _within(limits: tuple[float, float], asked: float | None, default: float, field: str, backend: str) -> float:
    if asked is None:
        return default
    low, high = limits
    if not low <= asked <= high:
        allowed = f"{low:g} to {high:g}" if low < high else f"only {low:g}"
        raise BadInput(f"{field}: {asked:g} is not what the {backend} variant can do, which is {allowed}.")
    return asked


def _warnings(request: GenerateRequest, guidance: float) -> tuple[str, ...]:
    if request.negative_prompt is not None and guidance <= 1:
        return (f"negative_prompt has no effect without guidance, and cfg is {guidance:g}.",)
    return ()
