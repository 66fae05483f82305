"""Turns an API request into what is generated: fills in defaults, checks paths and limits, refuses what is impossible."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from foundation.errors import BadInput
from foundation.trigger import contains_trigger
from zthumb.adapters.adapter_cache import Lora
from zthumb.adapters.textual_inversion import trigger_of
from zthumb.diffusion.guidance_schedule import UNCHANGED
from zthumb.families.base import Limits, ModelFamily
from zthumb.generation import prompts
from zthumb.generation.grammar.lora_tags import LoraTag, extract
from zthumb.generation.parameters import GenerationParams
from zthumb.generation.prompts.base import Malformed, is_plain
from zthumb.server.adapter_registry import AdapterRegistry
from zthumb.server.api.schemas import MAX_SEED, GenerateRequest
from zthumb.server.settings import OutputFormat, Settings

_SEED_COUNT = 2**32
_USUAL_WEIGHT = 2
_MAX_QUOTED_CHARS = 60


@dataclass(frozen=True)
class Model:
    """References to a base model and, if given, to an autoencoder that replaces the base's own."""

    base: str
    vae: str | None = None


@dataclass(frozen=True)
class BackendKey:
    """The backend that generates a request: a variant of a model."""

    model: Model
    variant: str


@dataclass(frozen=True)
class ResolvedRequest:
    """The images to generate: one entry of ``params`` per image, the backend, the ``loras`` to apply and the output format.

    ``variant_reason`` says why that variant was chosen. ``triggers`` holds, for each adapter, the trigger word that was
    prepended to the prompt, or None. ``cost`` is in steps of one image of the base's own size.
    """

    backend_key: BackendKey
    variant_reason: str
    params: tuple[GenerationParams, ...]
    loras: tuple[Lora, ...]
    triggers: tuple[str | None, ...]
    deterministic: bool
    isolated: bool
    output_format: OutputFormat
    cost: float
    warnings: tuple[str, ...] = ()

    def can_batch_with(self, other: "ResolvedRequest") -> bool:
        """Return whether both can be generated in one batch: they differ in prompts and seeds alone."""
        may_share_batch = not any((self.deterministic, self.isolated, other.deterministic, other.isolated))
        return may_share_batch and self._batch_key == other._batch_key

    @property
    def _batch_key(self) -> tuple[object, ...]:
        first = self.params[0]
        # Without a negative prompt the denoiser is conditioned on zeros, with an empty one on its text encoding.
        has_negative_prompt = first.negative_prompt is not None
        sampling = (
            first.width,
            first.height,
            first.original_size,
            first.steps,
            first.guidance_scale,
            first.true_cfg_scale,
            first.guidance_schedule,
            first.embedded_guidance_schedule,
            first.step_cache,
            first.scheduler,
            first.prompt_parser,
        )
        return (self.backend_key, self.loras, has_negative_prompt, sampling, self._length_key)

    @property
    def _length_key(self) -> tuple[str, ...]:
        """A key that is equal for prompts encoded in equally many tokens; padding a shorter one would change its image."""
        first = self.params[0]
        texts = [text for text in (first.prompt, first.negative_prompt) if text is not None]
        # A word that an adapter learned may stand for many tokens.
        has_fixed_length = first.prompt_parser == "plain" or (not self.loras and all(is_plain(text) for text in texts))
        return () if has_fixed_length else tuple(texts)


class _Sampling(NamedTuple):
    """How an image is sampled; ``unguided`` is a clause that says why nothing leads away from the negative prompt, if so."""

    steps: int
    guidance_scale: float
    true_cfg_scale: float
    unguided: str


@dataclass(frozen=True)
class RequestResolver:
    """Resolves requests with the server's ``settings`` and the adapters in ``registry``."""

    settings: Settings
    registry: AdapterRegistry

    def resolve(
        self,
        request: GenerateRequest,
        backend_key: BackendKey,
        variant_reason: str,
        family: ModelFamily,
        limits: Limits,
        size: tuple[int, int],
        has_preset_loras: bool = False,
    ) -> ResolvedRequest:
        """Resolve ``request``.

        ``limits`` are those of the backend, ``size`` is the base's own width and height in pixels. With ``has_preset_loras`` the
        adapters come from a preset and may always be downloaded, because the operator of the server wrote it. Raises ``BadInput``
        that says what is impossible.
        """
        sampling = _sampling(request, limits, backend_key.variant, family)
        width, height = request.width or size[0], request.height or size[1]
        _check_size(width, height, family)
        cost = self._check_cost(sampling.steps * request.batch * width * height / (size[0] * size[1]))
        parser = request.prompt_parser or self.settings.prompt_parser
        text, tags = _extract_lora_tags(request)
        may_fetch, is_default_model = has_preset_loras or self.settings.may_fetch, self._is_default_model(backend_key)
        loras = self.registry.requested_loras(request, may_fetch, tags, is_default_model)
        prompt, triggers, trigger_warnings = _prepend_triggers(request, text, parser, loras)
        texts = {"prompt": text, "negative_prompt": request.negative_prompt or ""}
        # A prompt that is valid by itself may be invalid with trigger words before it.
        for field, prompt_text in {**texts, "prompt with its trigger words": prompt}.items():
            _check_prompt(parser, field, prompt_text, sampling)
        first = GenerationParams(
            prompt=prompt,
            negative_prompt=request.negative_prompt,
            width=width,
            height=height,
            seed=secrets.randbelow(_SEED_COUNT) if request.seed is None else request.seed,
            steps=sampling.steps,
            guidance_scale=sampling.guidance_scale,
            scheduler=request.scheduler,
            prompt_parser=parser,
            true_cfg_scale=sampling.true_cfg_scale,
            guidance_schedule=request.guidance_schedule or UNCHANGED,
            embedded_guidance_schedule=request.embedded_guidance_schedule or UNCHANGED,
            step_cache=request.step_cache or GenerationParams.step_cache,
            original_size=self.settings.training_resolution if is_default_model else None,
        )
        # Seeds wrap around after the last one, so that every seed in a response is valid in a request.
        params = tuple(replace(first, seed=(first.seed + index) % (MAX_SEED + 1)) for index in range(request.batch))
        warnings = (*trigger_warnings, *_warnings(request, sampling, loras), *_foreign_mark_warnings(parser, texts))
        return ResolvedRequest(
            backend_key=backend_key,
            variant_reason=variant_reason,
            params=params,
            loras=loras,
            triggers=triggers,
            deterministic=request.deterministic,
            isolated=request.isolated,
            output_format=request.output_format or self.settings.output_format,
            cost=cost,
            warnings=warnings,
        )

    def _check_cost(self, cost: float) -> float:
        if cost > self.settings.queue_capacity:
            raise BadInput(
                f"steps × images × pixels: {cost:.0f} is more than this server accepts at once ({self.settings.queue_capacity}). "
                "Request less, or split it into several requests."
            )
        return cost

    def _is_default_model(self, backend_key: BackendKey) -> bool:
        return backend_key.model == Model(self.settings.model, self.settings.vae)


def _extract_lora_tags(request: GenerateRequest) -> tuple[str, tuple[LoraTag, ...]]:
    """Split the prompt into its text and the adapter tags in it; ``BadInput`` for a malformed or misplaced tag."""
    try:
        text, tags = extract(request.prompt)
    except Malformed as error:
        raise BadInput(f"prompt: {error}.") from None
    if request.negative_prompt is not None and "<" in request.negative_prompt:
        try:
            misplaced = extract(request.negative_prompt)[1]
        except Malformed as error:
            raise BadInput(f"negative_prompt: {error}.") from None
        if misplaced:
            raise BadInput(f"negative_prompt: at character {misplaced[0].place + 1}: name adapters in the prompt, not here.")
    return text, tags


def _check_prompt(parser: str, field: str, text: str, sampling: _Sampling) -> None:
    try:
        parts = prompts.get(parser).parts_of(text, sampling.steps)
    except Malformed as error:
        raise BadInput(f"{field}: {error} (prompt_parser {parser}).") from None
    for part_text in dict.fromkeys(part_text for part in parts for part_text in part.texts):
        try:
            prompts.get(parser).check(part_text)
        except Malformed as error:
            # Character positions refer to the text that the parser reads, which differs from a prompt that has parts.
            context = "" if part_text == text else f"in {part_text[:_MAX_QUOTED_CHARS]!r} "
            raise BadInput(f"{field}: {context}{error} (prompt_parser {parser}).") from None
    if len(parts) > 1 and (sampling.unguided or field == "negative_prompt"):
        reason = "works in the prompt alone" if field == "negative_prompt" else f"needs guidance, and {sampling.unguided}"
        raise BadInput(f"{field}: AND {reason} (prompt_parser {parser}).")


def _foreign_mark_warnings(parser: str, texts: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(f"{field}: {message}" for field, text in texts.items() for message in prompts.foreign_marks(parser, text))


def _prepend_triggers(
    request: GenerateRequest, prompt: str, parser: str, loras: Sequence[Lora]
) -> tuple[str, tuple[str | None, ...], tuple[str, ...]]:
    """Return the prompt with the requested trigger words before it, the trigger word of each adapter or None, and warnings."""
    triggers, warnings = list[str | None](), list[str]()
    # An adapter named by lora_path or in the prompt has no trigger weight.
    lora_requests = request.loras or []
    for lora_request, lora in zip(lora_requests, loras, strict=False):
        trigger = None
        if lora_request.trigger_weight:
            trigger = lora_request.trigger or trigger_of(lora.path)
            if trigger is None:
                raise BadInput(f"loras.trigger_weight: {lora.path.name} has no trigger word in its file; give one as trigger.")
            if trigger in triggers or contains_trigger(prompt, trigger):
                warnings.append(f"the prompt already has the trigger word {trigger!r}; it was not added again.")
                trigger = None
        triggers.append(trigger)
    weighted_triggers = [
        _weighted_trigger(parser, trigger, lora_request.trigger_weight)
        for trigger, lora_request in zip(triggers, lora_requests, strict=True)
        if trigger is not None
    ]
    without_trigger = (None,) * (len(loras) - len(triggers))
    return ", ".join([*weighted_triggers, prompt]), (*triggers, *without_trigger), tuple(warnings)


def _weighted_trigger(parser: str, trigger: str, weight: float) -> str:
    try:
        return prompts.get(parser).weighted(trigger, weight)
    except ValueError as error:
        raise BadInput(f"loras.trigger_weight: {error}.") from None


def _check_limit(limits: tuple[float, float], value: float | None, default: float, field: str, variant: str) -> float:
    """Return ``value``, or ``default`` if it is None; ``BadInput`` if it is outside the variant's ``limits``."""
    if value is None:
        return default
    low, high = limits
    if not low <= value <= high:
        allowed = f"{low:g} to {high:g}" if low < high else f"only {low:g}"
        raise BadInput(f"{field}: {value:g} is not supported by variant {variant}, which takes {allowed}.")
    return value


def _sampling(request: GenerateRequest, limits: Limits, variant: str, family: ModelFamily) -> _Sampling:
    """Return the request's steps and guidance; ``BadInput`` for what the variant or bases of the family cannot do."""
    steps = _check_limit(limits.steps, request.steps, limits.default_steps, "steps", variant)
    cfg = _check_limit(limits.guidance_scale, request.cfg, limits.default_guidance_scale, "cfg", variant)
    if request.scheduler is not None and request.scheduler not in family.schedulers:
        raise BadInput(f"scheduler: {request.scheduler} is not for {family.name}, which takes {', '.join(family.schedulers)}.")
    if request.true_cfg_scale is not None and family.guidance(1.0).embedded is None:
        raise BadInput(f"true_cfg_scale: {family.name} is guided by cfg itself. Leave it out.")
    if request.embedded_guidance_schedule is not None and family.guidance(1.0).embedded is None:
        raise BadInput(f"embedded_guidance_schedule: {family.name} is not told its guidance. Use guidance_schedule.")
    true_cfg = request.true_cfg_scale or GenerationParams.true_cfg_scale
    guidance, unguided = family.guidance(cfg, true_cfg), ""
    if not guidance.is_used:
        unguided = f"cfg is {cfg:g}" if guidance.embedded is None else f"true_cfg_scale is {true_cfg:g}"
    return _Sampling(int(steps), cfg, true_cfg, unguided)


def _check_size(width: int, height: int, family: ModelFamily) -> None:
    multiple = family.size_multiple
    for field, edge in (("width", width), ("height", height)):
        if edge % multiple:
            nearest = max(multiple, round(edge / multiple) * multiple)
            raise BadInput(
                f"{field}: {edge} is not a multiple of {multiple}, which {family.name} needs; the nearest is {nearest}."
            )


def _warnings(request: GenerateRequest, sampling: _Sampling, loras: Sequence[Lora]) -> tuple[str, ...]:
    warnings = []
    if request.negative_prompt is not None and sampling.unguided:
        warnings.append(f"negative_prompt has no effect without guidance, and {sampling.unguided}.")
    if (request.guidance_schedule or UNCHANGED) != UNCHANGED and sampling.unguided:
        warnings.append(f"guidance_schedule has no effect without guidance, and {sampling.unguided}.")
    for lora in loras:
        if abs(lora.weight) > _USUAL_WEIGHT:
            warnings.append(
                f"{lora.path.name} has weight {lora.weight:g}: beyond ±{_USUAL_WEIGHT} most adapters except sliders break."
            )
    return tuple(warnings)
