"""What the server asks of a backend."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from zthumb.adapters.adapter_cache import Applied, Lora
    from zthumb.generation.image_generator import GenerationParams, StepCallback

from zthumb.memory.quantize import Quantization

Precision = Literal["auto", "fp32", "bf16", "fp16"]


@dataclass(frozen=True)
class Options:
    """How a backend runs its base.

    ``precision`` auto is bf16 on a GPU and fp32 on a CPU. Images larger than ``tile`` pixels are decoded in tiles.
    ``channels_last`` lays weights out as convolutions on GPUs like them, ``compile`` compiles the denoiser's repeated blocks.
    ``quantization`` keeps the denoiser's linear weights in eight bits, where a file has not fewer already. Adapters that lie
    ready take at most ``adapter_bytes``.
    """

    precision: Precision = "auto"
    tile: int | None = None
    channels_last: bool = False
    compile: bool = False
    quantization: Quantization = "none"
    adapter_bytes: int = 2**30


@dataclass(frozen=True)
class WeightsLocation:
    """Where a backend finds what it runs: the ``denoiser``, a folder or a file, and the ``base`` that has all the rest."""

    denoiser: Path
    base: Path


@dataclass(frozen=True)
class Limits:
    """What a backend can be asked for: the fewest and most steps, the range of the guidance scale, and both's defaults."""

    steps: tuple[int, int]
    default_steps: int
    guidance_scale: tuple[float, float]
    default_guidance_scale: float


@dataclass(frozen=True)
class BackendInfo:
    """What is true of a loaded backend, and stays so after it was given back.

    ``resolution`` is the width and height in pixels that the base was trained at, ``scheduler`` the name of its own,
    ``denoiser_bytes`` what the denoiser's weights take in memory without adapters, ``device`` cpu or cuda, ``precision`` fp32,
    bf16 or fp16.
    """

    family: str
    base_sha256: str
    resolution: int
    scheduler: str
    denoiser_bytes: int
    device: str
    precision: str


class BaseBackend(ABC):
    """A loaded base model that generates images, with the adapters that a request names and no other."""

    name: str
    limits: Limits
    preference: int
    """Variant ``auto`` takes the least of those that there is room for."""
    info: BackendInfo

    @classmethod
    @abstractmethod
    def find(cls, model: Path, own: Path | None) -> WeightsLocation | None:
        """Where its weights are, for a server of ``model``; None if they are not there.

        ``own`` is where this server was told they are, else they lie beside ``model``.
        """

    @classmethod
    @abstractmethod
    def weights(cls, place: WeightsLocation, element: int) -> int:
        """Bytes that the weights in ``place`` take in memory with ``element`` bytes for each number of a precision."""

    @abstractmethod
    def __init__(self, place: WeightsLocation, options: Options) -> None:
        """Load what lies in ``place``."""

    @abstractmethod
    def generate(
        self, batch: Sequence[GenerationParams], watch: StepCallback, words: Mapping[str, int], tile: int | None = None
    ) -> list[Image.Image]:
        """Generate images that differ in prompts and seeds alone, decoded in tiles of ``tile`` pixels if that is given.

        ``words`` are those that the adapters which count bring, as ``under`` tells them. The same ``Image`` alone under the
        same adapters gives the same pixels, whatever was generated before.
        """

    @abstractmethod
    def preview(self, latents: Tensor) -> Image.Image:
        """What one image's latents (1, channels, h, w) look like, small; any thread may ask."""

    @abstractmethod
    def unread(self, params: GenerationParams, words: Mapping[str, int]) -> str:
        """The end of the image's prompt that is not read; empty when all of it is."""

    @abstractmethod
    def free_cache(self) -> None:
        """Give back the memory that can be done without: adapters that lie ready."""

    @abstractmethod
    def under(self, loras: Sequence[Lora]) -> AbstractContextManager[Applied]:
        """These adapters, and no others, count inside the block.

        ``BadInput`` when one does not fit. Outside, the base is bit-identical to one never touched.
        """
