"""What is asked of the server: prompts × seeds × scales, read from one YAML file."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from foundation.config import Strict, parse, read_yaml
from foundation.errors import BadInput

VERSION = 1
TRIGGER = "{trigger}"

Stratum = Literal["trigger", "control"]


class Protocol(Strict):
    """Prompts with the trigger and without it, the seeds and scales they are asked at, and the sampling settings.

    ``{trigger}`` in a prompt stands for the concept's trigger word. Scale 0, the base, is always among the scales.
    """

    trigger: tuple[str, ...] = Field(min_length=1)
    control: tuple[str, ...] = ()
    seeds: tuple[int, ...] = Field(default=(101, 102), min_length=1)
    scales: tuple[float, ...] = Field(default=(0.0, 0.8), min_length=2)
    steps: int = Field(default=25, ge=1)
    cfg: float = Field(default=5.0, ge=0)

    @field_validator("trigger")
    @classmethod
    def _has_trigger(cls, prompts: tuple[str, ...]) -> tuple[str, ...]:
        for prompt in prompts:
            if TRIGGER not in prompt:
                raise ValueError(f"{prompt!r} does not contain {TRIGGER}")
        return prompts

    @field_validator("trigger", "control", "seeds")
    @classmethod
    def _no_twice(cls, values: tuple[str | int, ...]) -> tuple[str | int, ...]:
        if len(set(values)) < len(values):
            raise ValueError("the same value stands there twice")
        return values

    @field_validator("scales")
    @classmethod
    def _has_base(cls, scales: tuple[float, ...]) -> tuple[float, ...]:
        if 0.0 not in scales:
            raise ValueError("scale 0, the base, is missing")
        return tuple(sorted(set(scales)))


@dataclass(frozen=True)
class Sample:
    """One picture to ask for."""

    stratum: Stratum
    prompt: str
    seed: int
    lora_scale: float


def read_protocol(path: Path) -> Protocol:
    """Read a prompts file; ``BadInput`` names what is wrong with it."""
    return parse(Protocol, read_yaml(path), str(path))


def samples(protocol: Protocol, trigger: str) -> Iterator[Sample]:
    """Every sample of the protocol, all scales of one prompt and seed in a row."""
    for stratum, prompts in _strata(protocol):
        for prompt in prompts:
            for seed in protocol.seeds:
                for scale in protocol.scales:
                    yield Sample(stratum, prompt.replace(TRIGGER, trigger), seed, scale)


def check_trigger_free(protocol: Protocol, trigger: str) -> None:
    """Refuse control prompts that contain the trigger: they would control nothing."""
    for prompt in protocol.control:
        if trigger in prompt:
            raise BadInput(f"control prompt {prompt!r} contains the trigger {trigger!r}; controls must be free of it.")


def _strata(protocol: Protocol) -> Sequence[tuple[Stratum, Sequence[str]]]:
    return (("trigger", protocol.trigger), ("control", protocol.control))
