"""Presets: ways to generate that have a name, a file each in the presets folder."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from foundation.config import Strict, explain, parse, read_model, read_yaml
from foundation.errors import BadInput
from foundation.plugins import suggestion
from zthumb import backends, prompts
from zthumb.generation.schedulers import SchedulerName
from zthumb.server.adapter_registry import BY_CONTENT
from zthumb.server.schemas import MAX_LORAS, GenerateRequest, LoraRequest
from zthumb.server.settings import MAX_WEIGHT
from zthumb.sources import catalogue
from zthumb.sources.bases import check, check_base
from zthumb.sources.reference import Named, shown
from zthumb.sources.reference import parse as parse_reference

ENDINGS = (".yaml", ".yml", ".json")
_HERE = "{prompt}"
_Word = Annotated[str, Field(min_length=1, max_length=200)]


class PresetLora(Strict):
    """An adapter, named by any reference, and the words that call it up, which are put before the prompt."""

    ref: str = Field(max_length=1000)
    weight: float = Field(default=1.0, ge=-MAX_WEIGHT, le=MAX_WEIGHT)
    triggers: tuple[_Word, ...] = ()

    @field_validator("ref")
    @classmethod
    def _names_an_adapter(cls, text: str) -> str:
        # What is in the models folder is looked for there when it is asked for.
        if text.startswith(BY_CONTENT):
            return text
        _checked(parse_reference, text)
        return _checked(catalogue.entry, text) if isinstance(parse_reference(text), Named) else text

    @property
    def request(self) -> LoraRequest:
        """The same as a request names it."""
        return LoraRequest(
            ref=self.ref,
            weight=self.weight,
            trigger=", ".join(self.triggers) or None,
            trigger_weight=1 if self.triggers else 0,
        )


class Preset(Strict):
    """How to generate. What is not given is as the server has it; what a request gives itself counts before this.

    ``base`` and ``vae`` are named by any reference. ``prompt`` is a template with ``{prompt}`` in it.
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
    prompt: str = Field(default=_HERE, max_length=5_000)
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
            raise ValueError(f"no variant is called {name!r}. {suggestion(name, known)}")
        return name

    @field_validator("prompt_parser")
    @classmethod
    def _is_a_parser(cls, name: str | None) -> str | None:
        return name if name is None else _checked(prompts.get, name)

    @field_validator("prompt")
    @classmethod
    def _has_a_place_for_the_prompt(cls, template: str) -> str:
        if template.count(_HERE) != 1:
            raise ValueError(f"has {_HERE} in it once, where the request's prompt goes")
        return template

    @field_validator("loras")
    @classmethod
    def _name_adapters(cls, loras: tuple[PresetLora, ...]) -> tuple[PresetLora, ...]:
        # Each must be one that a request could name, which is what making a request of it tells.
        return tuple(lora for lora in loras if lora.request)

    @model_validator(mode="after")
    def _asks_for_what_its_variant_can_do(self) -> Self:
        if self.variant != "auto":
            limits = backends.get(self.variant).limits
            for name, value, (low, high) in (("steps", self.steps, limits.steps), ("cfg", self.cfg, limits.guidance_scale)):
                if value is not None and not low <= value <= high:
                    raise ValueError(f"{name}: {value:g} is not what variant {self.variant} can do, which is {low:g} to {high:g}")
        return self

    @property
    def names(self) -> dict[str, str | None]:
        """What names its models, for anybody to read."""
        return {"base": self.base and shown(self.base), "vae": self.vae and shown(self.vae)}

    def filled_in(self, request: GenerateRequest) -> GenerateRequest:
        """``request`` with all that it does not give itself; ``BadInput`` where both do not go together."""
        given = {name: value for name, value in request.model_dump(exclude_unset=True).items() if value is not None}
        own = self.model_dump(exclude={"purpose", "base", "vae", "loras", "prompt"}, exclude_none=True)
        values: dict[str, Any] = {**own, **given}
        values["prompt"] = self.prompt.replace(_HERE, request.prompt)
        if not request.names_adapters:
            values["loras"] = [lora.request.model_dump() for lora in self.loras] or None
        try:
            return GenerateRequest.model_validate(values)
        except ValidationError as error:
            raise BadInput("; ".join(explain(GenerateRequest, error))) from None


def _checked(check: Callable[[str], object], text: str) -> str:
    try:
        check(text)
    except BadInput as error:
        raise ValueError(str(error)) from None
    return text


def read(folder: Path) -> dict[str, Preset]:
    """Every preset in ``folder`` by its name, that of its file; ``BadInput`` tells which file is wrong, and where."""
    found = dict[str, Preset]()
    for path in sorted(path for path in folder.glob("*") if path.suffix in ENDINGS):
        if path.stem in found:
            raise BadInput(f"{path}: there is another preset called {path.stem}; give one of them another name.")
        found[path.stem] = read_model(Preset, path) if path.suffix == ".json" else parse(Preset, read_yaml(path), str(path))
    return found


def chosen(presets: Mapping[str, Preset], name: str) -> Preset:
    """The preset called ``name``; ``BadInput`` names the nearest there is."""
    if name not in presets:
        there = suggestion(name, sorted(presets)) if presets else "There are none here."
        raise BadInput(f"preset: none is called {name!r}. {there}")
    return presets[name]
