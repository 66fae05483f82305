"""Presets: named generation settings, one file each in the presets folder."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from foundation.config import Strict, explain, parse, read_model, read_yaml
from foundation.errors import BadInput
from foundation.plugins import suggestion
from zthumb import backends, families
from zthumb.diffusion.schedulers import SchedulerName
from zthumb.families.base import ModelFamily
from zthumb.generation import prompts
from zthumb.server.adapter_registry import HASH_PREFIX
from zthumb.server.api.schemas import MAX_LORAS, GenerateRequest, LoraRequest
from zthumb.server.settings import MAX_WEIGHT
from zthumb.sources import catalogue
from zthumb.sources.bases import check, check_base
from zthumb.sources.reference import Named, shown
from zthumb.sources.reference import parse as parse_reference

SUFFIXES = (".yaml", ".yml", ".json")
_PLACEHOLDER = "{prompt}"
_TriggerWord = Annotated[str, Field(min_length=1, max_length=200)]


class PresetLora(Strict):
    """An adapter, named by any reference, and its trigger words, which are prepended to the prompt."""

    ref: str = Field(max_length=1000)
    weight: float = Field(default=1.0, ge=-MAX_WEIGHT, le=MAX_WEIGHT)
    triggers: tuple[_TriggerWord, ...] = ()

    @field_validator("ref")
    @classmethod
    def _names_an_adapter(cls, text: str) -> str:
        # A hash is looked up in the models folder when a request uses the preset.
        if text.startswith(HASH_PREFIX):
            return text
        _checked(parse_reference, text)
        return _checked(catalogue.entry, text) if isinstance(parse_reference(text), Named) else text

    @property
    def request(self) -> LoraRequest:
        """The adapter as a request names it."""
        return LoraRequest(
            ref=self.ref,
            weight=self.weight,
            trigger=", ".join(self.triggers) or None,
            trigger_weight=1 if self.triggers else 0,
        )


def _possible_families(base: str | None) -> list[ModelFamily]:
    """Return the families that a base may be of, as far as that is known before it is there."""
    name = None if base is None else catalogue.family_of(base)
    return [families.get(name) for name in (families.names() if name is None else [name])]


class Preset(Strict):
    """Generation settings. A field that is not set takes the server's default; fields of the request override the preset.

    ``base`` and ``vae`` are named by any reference. ``prompt`` is a template that contains ``{prompt}``.
    """

    purpose: str
    base: str | None = None
    vae: str | None = None
    variant: str = "auto"
    scheduler: SchedulerName | None = None
    steps: int | None = Field(default=None, ge=1, le=150)
    cfg: float | None = Field(default=None, ge=0, le=30)
    width: int | None = Field(default=None, ge=64, le=2048, multiple_of=8)
    height: int | None = Field(default=None, ge=64, le=2048, multiple_of=8)
    prompt: str = Field(default=_PLACEHOLDER, max_length=5_000)
    negative_prompt: str | None = Field(default=None, max_length=5_000)
    prompt_parser: str | None = None
    loras: tuple[PresetLora, ...] = Field(default=(), max_length=MAX_LORAS)

    @field_validator("base")
    @classmethod
    def _names_a_base(cls, text: str | None) -> str | None:
        return text if text is None else _checked(check_base, text)

    @field_validator("vae")
    @classmethod
    def _names_an_autoencoder(cls, text: str | None) -> str | None:
        return text if text is None else _checked(lambda text: check(parse_reference(text)), text)

    @field_validator("variant")
    @classmethod
    def _is_a_variant(cls, name: str) -> str:
        known = ["auto", *backends.names()]
        if name not in known:
            raise ValueError(f"there is no variant {name!r}. {suggestion(name, known)}")
        return name

    @field_validator("prompt_parser")
    @classmethod
    def _is_a_parser(cls, name: str | None) -> str | None:
        return name if name is None else _checked(prompts.get, name)

    @field_validator("prompt")
    @classmethod
    def _has_one_placeholder(cls, template: str) -> str:
        if template.count(_PLACEHOLDER) != 1:
            raise ValueError(f"must contain {_PLACEHOLDER} once, where the request's prompt goes")
        return template

    @field_validator("loras")
    @classmethod
    def _are_valid_requests(cls, loras: tuple[PresetLora, ...]) -> tuple[PresetLora, ...]:
        # Building each adapter's request validates it as a request's own adapter.
        return tuple(lora for lora in loras if lora.request)

    @model_validator(mode="after")
    def _is_within_the_variants_limits(self) -> Self:
        if self.variant != "auto":
            backend = backends.get(self.variant)
            known = [limits for family in _possible_families(self.base) for limits in backend.possible_limits(family)]
            steps, guidance = [limits.steps for limits in known], [limits.guidance_scale for limits in known]
            for name, value, ranges in (("steps", self.steps, steps), ("cfg", self.cfg, guidance)):
                if value is not None and not any(low <= value <= high for low, high in ranges):
                    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
                    raise ValueError(
                        f"{name}: {value:g} is not supported by variant {self.variant}, which takes {low:g} to {high:g}"
                    )
        return self

    @property
    def public_model_names(self) -> dict[str, str | None]:
        """The references to its models, without secrets in them."""
        return {"base": self.base and shown(self.base), "vae": self.vae and shown(self.vae)}

    def apply_to(self, request: GenerateRequest) -> GenerateRequest:
        """Return ``request`` with its unset fields taken from the preset; ``BadInput`` if the combination is invalid."""
        from_request = {name: value for name, value in request.model_dump(exclude_unset=True).items() if value is not None}
        from_preset = self.model_dump(exclude={"purpose", "base", "vae", "loras", "prompt"}, exclude_none=True)
        values: dict[str, Any] = {**from_preset, **from_request}
        values["prompt"] = self.prompt.replace(_PLACEHOLDER, request.prompt)
        if not request.names_adapters:
            values["loras"] = [lora.request.model_dump() for lora in self.loras] or None
        try:
            return GenerateRequest.model_validate(values)
        except ValidationError as error:
            raise BadInput("; ".join(explain(GenerateRequest, error))) from None


def _checked(check: Callable[[str], object], text: str) -> str:
    """Return ``text`` if ``check`` accepts it; its ``BadInput`` becomes the ValueError that pydantic expects."""
    try:
        check(text)
    except BadInput as error:
        raise ValueError(str(error)) from None
    return text


def read_presets(folder: Path) -> dict[str, Preset]:
    """Return every preset in ``folder`` by its file's name; ``BadInput`` says which file is wrong, and where."""
    presets = dict[str, Preset]()
    for path in sorted(path for path in folder.glob("*") if path.suffix in SUFFIXES):
        if path.stem in presets:
            raise BadInput(f"{path}: there is another preset called {path.stem}; rename one of them.")
        presets[path.stem] = read_model(Preset, path) if path.suffix == ".json" else parse(Preset, read_yaml(path), str(path))
    return presets


def get_preset(presets: Mapping[str, Preset], name: str) -> Preset:
    """Return the preset called ``name``; ``BadInput`` suggests the nearest name."""
    if name not in presets:
        hint = suggestion(name, sorted(presets)) if presets else "This server has no presets."
        raise BadInput(f"preset: there is no preset {name!r}. {hint}")
    return presets[name]
