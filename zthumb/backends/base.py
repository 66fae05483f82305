"""What the server asks of a backend."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class Picture:
    """What one picture is made from. Width and height in pixels, both multiples of 8."""

    prompt: str
    negative_prompt: str | None
    width: int
    height: int
    seed: int
    steps: int
    guidance_scale: float


@dataclass(frozen=True)
class Lora:
    """An adapter to apply and how strongly; a scale of 0 is the base, 1 the adapter as trained."""

    path: Path
    scale: float


class BaseBackend(ABC):
    """A loaded base model that paints pictures, with at most one adapter on it at a time."""

    name: str
    family: str
    base_sha256: str
    native_resolution: int
    """Width and height in pixels that the base was trained at."""

    @abstractmethod
    def __init__(self, folder: Path) -> None:
        """Load the base in ``folder``."""

    @abstractmethod
    def generate(self, picture: Picture) -> Image.Image:
        """Paint one picture. The same ``Picture`` and adapter give the same pixels, whatever was painted before."""

    @abstractmethod
    def apply_lora(self, lora: Lora) -> str:
        """Put an adapter onto the base and return the file's SHA-256; ``BadInput`` when it does not fit."""

    @abstractmethod
    def remove_lora(self) -> None:
        """The inverse of ``apply_lora``: afterwards the base is bit-identical to one never touched."""

    @contextmanager
    def lora_applied(self, lora: Lora | None) -> Iterator[str | None]:
        """The adapter applied inside the block and gone after it, whatever happens in between; yields its SHA-256."""
        if lora is None:
            yield None
            return
        digest = self.apply_lora(lora)
        try:
            yield digest
        finally:
            self.remove_lora()
