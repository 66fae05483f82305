"""The interface of a backend: how a model family is run here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from zthumb.adapters.adapter_cache import AppliedAdapters, Lora
    from zthumb.diffusion.sampling import StepCallback
    from zthumb.families.base import Limits, ModelFamily
    from zthumb.generation.parameters import GenerationParams

from zthumb.memory.quantize import Quantization
from zthumb.memory.residency import Placement

Precision = Literal["auto", "fp32", "bf16", "fp16"]


@dataclass(frozen=True)
class Options:
    """How a backend runs its base.

    ``device`` is as for ``foundation.device.choose_device``. ``precision`` auto is bf16 on a GPU and fp32 on a CPU or MPS. Images
    larger than ``tile`` pixels are decoded in tiles. ``channels_last`` stores weights in the memory format that convolutions on
    GPUs prefer, ``compile`` compiles the denoiser's repeated blocks. ``quantization`` keeps the denoiser's linear weights in
    eight bits, unless its file has fewer; with ``salience``, a file of ``zthumb calibrate``, they are balanced before. Cached
    adapters take at most ``adapter_bytes``. ``dummy``: weights are random, and only the base's configuration is read.
    ``placement`` says which components are on the device while they do not work; of those that take turns so many
    ``blocks_to_swap`` are there only while they compute themselves.
    """

    device: str = "auto"
    precision: Precision = "auto"
    tile: int | None = None
    channels_last: bool = False
    compile: bool = False
    quantization: Quantization = "none"
    salience: Path | None = None
    adapter_bytes: int = 2**30
    dummy: bool = False
    placement: Placement = "resident"
    blocks_to_swap: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class WeightsLocation:
    """Where a backend finds what it runs: the ``denoiser``, a folder or a file, and the ``base`` that has all the rest.

    ``few_step_adapter`` is merged into the denoiser: it makes few steps enough.
    """

    denoiser: Path
    base: Path
    few_step_adapter: Path | None = None


@dataclass(frozen=True)
class BackendInfo:
    """Facts about a loaded backend, which stay true after it was unloaded.

    ``resolution`` is the width and height in pixels that the base was trained at, ``scheduler`` the name of the base's own,
    ``denoiser_bytes`` what the denoiser's weights take in memory without adapters, ``device`` torch's type of it, ``precision``
    fp32, bf16 or fp16.
    """

    family: str
    base_sha256: str
    resolution: int
    scheduler: str
    denoiser_bytes: int
    device: str
    precision: str


class BaseBackend(ABC):
    """A loaded base model that generates images with the adapters that a request names, and with no others."""

    name: str
    preference: int
    """Variant ``auto`` takes the backend with the lowest number that fits into memory."""
    info: BackendInfo

    @classmethod
    @abstractmethod
    def limits(cls, family: ModelFamily) -> Limits:
        """Return what a request for a base of ``family`` may ask of this backend."""

    @classmethod
    def possible_limits(cls, family: ModelFamily) -> Sequence[Limits]:
        """Return every range that a request may be within, whatever weights this backend has."""
        return [cls.limits(family)]

    @classmethod
    @abstractmethod
    def find(cls, model: Path, configured: Path | None) -> WeightsLocation | None:
        """Return where the weights of this backend are, for a server of ``model``; None if they are not there.

        ``configured`` is the path from the server's settings; without one they are expected next to ``model``.
        """

    @classmethod
    @abstractmethod
    def weights_bytes(cls, location: WeightsLocation, element: int) -> int:
        """Return the bytes that the weights in ``location`` take in memory, at ``element`` bytes for each number."""

    @classmethod
    def placements(cls, location: WeightsLocation, options: Options, device_type: str) -> Mapping[Placement, str]:  # noqa: ARG003
        """Return the placements there are, each with why it is not possible with what else was chosen; empty if it is."""
        return {"resident": ""}

    @classmethod
    def denoiser_bytes(cls, location: WeightsLocation) -> int | None:  # noqa: ARG003
        """Return the bytes of the denoiser's weights if its file has them in a form of its own."""
        return None

    @classmethod
    @abstractmethod
    def hash_of(cls, location: WeightsLocation) -> str:
        """Return one SHA-256 over all weights and configurations in ``location``."""

    @abstractmethod
    def __init__(self, location: WeightsLocation, options: Options) -> None:
        """Load the weights in ``location``."""

    @abstractmethod
    def generate(
        self,
        batch: Sequence[GenerationParams],
        on_step: StepCallback,
        learned_tokens: Mapping[str, int],
        tile: int | None = None,
    ) -> list[Image.Image]:
        """Return an image for each of ``batch``, which differ in prompts and seeds alone.

        They are decoded in tiles of ``tile`` pixels if that is given. ``learned_tokens`` are those of the active adapters, as
        ``apply_lora`` yields them. The same parameters in a batch of one, with the same adapters, give the same pixels, whatever
        was generated before.
        """

    @abstractmethod
    def preview(self, latents: Tensor) -> Image.Image:
        """Return a small image of what latents (1, channels, h, w) look like; any thread may call it."""

    @abstractmethod
    def truncated_text(self, params: GenerationParams, learned_tokens: Mapping[str, int]) -> str:
        """Return the end of the image's prompt that the text encoders do not read; empty if they read it all."""

    @abstractmethod
    def free_cache(self) -> None:
        """Free the memory of cached adapters."""

    @abstractmethod
    def apply_lora(self, loras: Sequence[Lora]) -> AbstractContextManager[AppliedAdapters]:
        """Apply these adapters, and no others, inside the block; raise ``BadInput`` for one that does not fit.

        Outside the block the base is bit-identical to one that never had an adapter.
        """
