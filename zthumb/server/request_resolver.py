"""A request as what is to be generated: every default filled in, every path looked at, everything impossible refused."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from foundation.errors import BadInput
from foundation.trigger import contains_trigger
from zthumb import prompts
from zthumb.a1111.lora_tags import LoraTag, extract
from zthumb.adapters.adapter_cache import Lora
from zthumb.adapters.textual_inversion import trigger_of
from zthumb.backends.base import Limits
from zthumb.generation.image_generator import GenerationParams
from zthumb.prompts.base import Malformed, is_plain
from zthumb.server.adapter_registry import AdapterRegistry
from zthumb.server.schemas import MAX_SEED, GenerateRequest
from zthumb.server.settings import OutputFormat, Settings

_SEEDS = 2**32
_USUAL_WEIGHT = 2
_QUOTED = 60


@dataclass(frozen=True)
class Model:
    """A base by what names it, and an autoencoder in place of its own if one is named."""

    base: str
    vae: str | None = None


@dataclass(frozen=True)
class BackendKey:
    """Where a request is generated: a variant of a model."""

    model: Model
    variant: str


@dataclass(frozen=True)
class ResolvedRequest:
    """Images to generate with the backend of ``backend_key``, ``why`` that one, the ``loras`` to apply, and the files' format.

    ``triggers`` are the words that were put before the prompt, one for each adapter or None. ``cost`` is in steps of one image
    of the base's own size.
    """

    backend_key: BackendKey
    why: str
    params: tuple[GenerationParams, ...]
    loras: tuple[Lora, ...]
    triggers: tuple[str | None, ...]
    deterministic: bool
    isolated: bool
    output_format: OutputFormat
    cost: float
    warnings: tuple[str, ...] = ()

    def can_batch_with(self, other: "ResolvedRequest") -> bool:
        """Whether both can be generated at once: they differ in prompts and seeds alone."""
        are_social = not any((self.deterministic, self.isolated, other.deterministic, other.isolated))
        return are_social and self._kind == other._kind

    @property
    def _kind(self) -> tuple[object, ...]:
        first = self.params[0]
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
        return (self.backend_key, self.loras, is_told, how, self._length)

    @property
    def _length(self) -> tuple[str, ...]:
        """Alike for prompts that are told in as many tokens; filling one up would change its image."""
        first = self.params[0]
        texts = [text for text in (first.prompt, first.negative_prompt) if text is not None]
        # Adapters may bring words of many tokens.
        is_usual = first.prompt_parser == "plain" or (not self.loras and all(is_plain(text) for text in texts))
        return () if is_usual else tuple(texts)


@dataclass(frozen=True)
class RequestResolver:
    """Makes requests out of requests for adapters on ``registry``."""

    settings: Settings
    registry: AdapterRegistry

    def of(
        self,
        request: GenerateRequest,
        backend_key: BackendKey,
        why: str,
        limits: Limits,
        size: tuple[int, int],
        is_preset: bool = False,
    ) -> ResolvedRequest:
        """The request that ``request`` means; ``size`` is the base's own in pixels. ``BadInput`` says what of it cannot be.

        With ``is_preset`` its adapters are those of a preset, which may always be fetched: who keeps this server wrote it.
        """
        steps = _within(limits.steps, request.steps, limits.default_steps, "steps", backend_key.variant)
        guidance = _within(limits.guidance_scale, request.cfg, limits.default_guidance_scale, "cfg", backend_key.variant)
        seed = secrets.randbelow(_SEEDS) if request.seed is None else request.seed
        width, height = request.width or size[0], request.height or size[1]
        parser = request.prompt_parser or self.settings.prompt_parser
        text, tags = _without_tags(request)
        loras = self.registry.asked(request, may_fetch=is_preset or self.settings.may_fetch, tags=tags)
        prompt, triggers, told = _with_triggers(request, text, parser, loras)
        checked = {"prompt": text, "negative_prompt": request.negative_prompt or ""}
        # With trigger words before it, it may be another thing.
        for field, each in {**checked, "prompt with its trigger words": prompt}.items():
            _check_prompt(parser, field, each, int(steps), guidance)
        one = GenerationParams(
            prompt=prompt,
            negative_prompt=request.negative_prompt,
            width=width,
            height=height,
            seed=seed,
            steps=int(steps),
            guidance_scale=guidance,
            scheduler=request.scheduler,
            prompt_parser=parser,
            original_size=self.settings.training_resolution if self._is_own(backend_key) else None,
        )
        # Every seed that is answered can be asked for: they begin again after the last.
        params = tuple(replace(one, seed=(seed + turn) % (MAX_SEED + 1)) for turn in range(request.batch))
        cost = steps * request.batch * width * height / (size[0] * size[1])
        if cost > self.settings.queue_room:
            raise BadInput(
                f"steps × images × pixels: {cost:.0f} is more than this server takes at once ({self.settings.queue_room}). Ask "
                "for less, or in several requests."
            )
        warnings = (*told, *_warnings(request, guidance, loras), *_of_other_grammars(parser, checked))
        return ResolvedRequest(
            backend_key=backend_key,
            why=why,
            params=params,
            loras=loras,
            triggers=triggers,
            deterministic=request.deterministic,
            isolated=request.isolated,
            output_format=request.output_format or self.settings.output_format,
            cost=cost,
            warnings=warnings,
        )

    def _is_own(self, backend_key: BackendKey) -> bool:
        return backend_key.model == Model(self.settings.model, self.settings.vae)


def _without_tags(request: GenerateRequest) -> tuple[str, tuple[LoraTag, ...]]:
    """The prompt without the adapters that it names, and those; ``BadInput`` for one that cannot be read or is out of place."""
    try:
        text, tags = extract(request.prompt)
    except Malformed as error:
        raise BadInput(f"prompt: {error}.") from None
    if request.negative_prompt is not None and "<" in request.negative_prompt:
        try:
            wrong = extract(request.negative_prompt)[1]
        except Malformed as error:
            raise BadInput(f"negative_prompt: {error}.") from None
        if wrong:
            raise BadInput(
                f"negative_prompt: at character {wrong[0].place + 1}: an adapter is named in the prompt, and not here."
            )
    return text, tags


def _check_prompt(parser: str, field: str, text: str, steps: int, guidance: float) -> None:
    try:
        parts = prompts.get(parser).parts_of(text, steps)
    except Malformed as error:
        raise BadInput(f"{field}: {error} (prompt_parser {parser}).") from None
    for each in dict.fromkeys(text for part in parts for text in part.texts):
        try:
            prompts.get(parser).check(each)
        except Malformed as error:
            # Characters are counted in what the parser reads, which is not the prompt where that changes or has parts.
            place = "" if each == text else f"in {each[:_QUOTED]!r} "
            raise BadInput(f"{field}: {place}{error} (prompt_parser {parser}).") from None
    if len(parts) > 1 and (guidance <= 1 or field == "negative_prompt"):
        why = "is for the prompt alone" if field == "negative_prompt" else f"takes guidance, and cfg is {guidance:g}"
        raise BadInput(f"{field}: AND {why} (prompt_parser {parser}).")


def _of_other_grammars(parser: str, texts: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(f"{field}: {told}" for field, text in texts.items() for told in prompts.foreign_marks(parser, text))


def _with_triggers(
    request: GenerateRequest, prompt: str, parser: str, loras: Sequence[Lora]
) -> tuple[str, tuple[str | None, ...], tuple[str, ...]]:
    """The prompt behind the trigger words that were asked for; those words; what should be known of them."""
    triggers, warnings = list[str | None](), list[str]()
    # One that is named by lora_path or in the prompt has no trigger weight.
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
    without = (None,) * (len(loras) - len(triggers))
    return ", ".join([*told, prompt]), (*triggers, *without), tuple(warnings)


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


def _warnings(request: GenerateRequest, guidance: float, loras: Sequence[Lora]) -> tuple[str, ...]:
    told = []
    if request.negative_prompt is not None and guidance <= 1:
        told.append(f"negative_prompt has no effect without guidance, and cfg is {guidance:g}.")
    for lora in loras:
        if abs(lora.weight) > _USUAL_WEIGHT:
            told.append(
                f"{lora.path.name} counts {lora.weight:g} times: beyond ±{_USUAL_WEIGHT} most adapters but sliders break."
            )
    return tuple(told)
