"""What is asked of the server: prompts × seeds × scales, read from one YAML file, and the requests of the gates around them."""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from evaluation.prompts_file import TRIGGER, read_values
from foundation.config import Strict, parse
from foundation.errors import BadInput
from foundation.trigger import contains_trigger

VERSION = 3
"""Of the gates, metrics, guards and the rule that recommends a scale: whatever changes a verdict changes this."""

MOST_AT_ONCE = 8
"""Images of one request at the most."""

Stratum = Literal["trained", "novel", "control"]
STRATA: tuple[Stratum, ...] = ("trained", "novel", "control")
WITH_TRIGGER: tuple[Stratum, ...] = ("trained", "novel")

Phase = Literal["start", "sweep", "end"]


class Protocol(Strict):
    """Three strata of prompts, the seeds and scales they are asked at, and the sampling settings.

    ``trained`` use the trigger as the captions did, ``novel`` in contexts that no caption has, ``control`` not at all.
    ``{trigger}`` stands for the concept's trigger word. Scale 0 means the base, which is always there. ``extractors`` are what
    images are compared by, the first one's similarity decides; texts are read by the first that reads any.
    """

    trained: tuple[str, ...] = Field(min_length=1)
    novel: tuple[str, ...] = ()
    control: tuple[str, ...] = ()
    seeds: tuple[int, ...] = Field(default=(101, 102, 103, 104), min_length=1)
    scales: tuple[float, ...] = Field(default=(0.0, 0.4, 0.8, 1.0), min_length=2)
    extractors: tuple[str, ...] = Field(default=("dinov2", "clip"), min_length=1)
    steps: int = Field(default=25, ge=1)
    cfg: float = Field(default=5.0, ge=0)
    negative_prompt: str | None = None
    width: int | None = Field(default=None, ge=64)
    height: int | None = Field(default=None, ge=64)
    scheduler: str | None = None
    variant: str = "full"

    @field_validator("trained", "novel")
    @classmethod
    def _has_trigger(cls, prompts: tuple[str, ...]) -> tuple[str, ...]:
        for prompt in prompts:
            if TRIGGER not in prompt:
                raise ValueError(f"{prompt!r} does not contain {TRIGGER}")
        return prompts

    @field_validator("seeds", "extractors")
    @classmethod
    def _no_twice(cls, values: tuple[str | int, ...]) -> tuple[str | int, ...]:
        if len(set(values)) < len(values):
            raise ValueError("the same value stands there twice")
        return values

    @field_validator("scales")
    @classmethod
    def _has_base(cls, scales: tuple[float, ...]) -> tuple[float, ...]:
        found = tuple(sorted(set(scales)))
        if not all(math.isfinite(scale) for scale in scales):
            raise ValueError("every scale is a finite number")
        if 0.0 not in found:
            raise ValueError("scale 0, the base, is missing")
        if found[0] < 0:
            raise ValueError("scales below 0 take the concept away; they cannot be recommended")
        if len(found) < 2:
            raise ValueError("scale 0 alone shows no adapter")
        return found

    @model_validator(mode="after")
    def _has_no_prompt_twice(self) -> Self:
        # The same prompt in both halves would confirm itself.
        told = [" ".join(prompt.casefold().split()) for stratum in STRATA for prompt in getattr(self, stratum)]
        if twice := [prompt for prompt in told if told.count(prompt) > 1]:
            raise ValueError(f"{twice[0]!r} stands there twice")
        return self

    def of(self, stratum: Stratum, trigger: str) -> tuple[str, ...]:
        """The prompts of one stratum, with the trigger word put in."""
        prompts: tuple[str, ...] = getattr(self, stratum)
        return tuple(prompt.replace(TRIGGER, trigger) for prompt in prompts)

    @property
    def stronger(self) -> tuple[float, ...]:
        """The scales above 0, ascending."""
        return self.scales[1:]


@dataclass(frozen=True)
class Sample:
    """One image to ask for; without an ``adapter`` it is the base's own. ``phase``: when, as the gates need it."""

    phase: Phase
    stratum: Stratum
    prompt: str
    seed: int
    adapter: str | None
    lora_scale: float


@dataclass(frozen=True)
class RequestSpec:
    """One request: the images of one prompt at one scale with consecutive seeds."""

    samples: tuple[Sample, ...]

    @property
    def first(self) -> Sample:
        """The sample of the lowest seed."""
        return self.samples[0]


@dataclass(frozen=True)
class Plan:
    """Every request by its phase, in the order they are made, and every sample in the order people read them."""

    asks: dict[Phase, tuple[RequestSpec, ...]]
    samples: tuple[Sample, ...]


_AdapterScale = tuple[str | None, float]
"""An adapter, or None for the base, and its scale."""


def read_protocol(path: Path, trigger: str | None = None) -> Protocol:
    """Read a prompts file of any form, and say what of it is not followed; ``BadInput`` names what is wrong with it."""
    values, not_followed = read_values(path, trigger)
    for each in not_followed:
        print(f"evaluate: note: {path}: {each}")
    return parse(Protocol, values, str(path))


def check_trigger_free(protocol: Protocol, trigger: str) -> None:
    """Refuse control prompts that contain the trigger: they would control nothing."""
    for prompt in protocol.control:
        if contains_trigger(prompt, trigger):
            raise BadInput(f"control prompt {prompt!r} contains the trigger {trigger!r}; controls must be free of it.")


def plan(protocol: Protocol, trigger: str, adapters: Sequence[str]) -> Plan:
    """Every request.

    At the start scale 0 of every adapter, before any has counted. Then the sweep: the base once, shared by all adapters, and each
    at every other scale, in an order that is shuffled so that no scale is favoured by its time. In the end the strongest scale
    and the base once more, and scale 0 again, which shows what has stuck.
    """
    everything = [(stratum, prompt) for stratum in STRATA for prompt in protocol.of(stratum, trigger)]
    probes = [(stratum, prompts[0]) for stratum in STRATA if (prompts := protocol.of(stratum, trigger))]
    base: list[_AdapterScale] = [(None, 0.0)]
    zeros: list[_AdapterScale] = [(adapter, 0.0) for adapter in adapters]
    strongest: list[_AdapterScale] = [(adapter, protocol.scales[-1]) for adapter in adapters]
    counted: list[_AdapterScale] = [(adapter, scale) for adapter in adapters for scale in protocol.stronger]

    def asks(phase: Phase, prompts: Sequence[tuple[Stratum, str]], under: Sequence[_AdapterScale]) -> list[RequestSpec]:
        return [
            RequestSpec(tuple(Sample(phase, stratum, prompt, seed, adapter, scale) for seed in seeds))
            for stratum, prompt in prompts
            for seeds in _runs(protocol.seeds)
            for adapter, scale in under
        ]

    start, sweep = asks("start", probes, zeros), asks("sweep", everything, [*base, *counted])
    end = [*asks("end", probes, strongest), *asks("end", probes, [*base, *zeros])]
    samples = tuple(sample for ask in (*start, *sweep, *end) for sample in ask.samples)
    random.Random(VERSION).shuffle(sweep)
    return Plan({"start": tuple(start), "sweep": tuple(sweep), "end": tuple(end)}, samples)


def _runs(seeds: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """``seeds`` in runs of consecutive ones: a request counts its seeds up."""
    for _, run in groupby(enumerate(sorted(seeds)), key=lambda each: each[1] - each[0]):
        found = [seed for _, seed in run]
        for start in range(0, len(found), MOST_AT_ONCE):
            yield tuple(found[start : start + MOST_AT_ONCE])
