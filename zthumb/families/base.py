"""What training and serving ask of a model family."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from foundation.files import read_json
from zthumb.naming.origin import CheckpointKey

if TYPE_CHECKING:
    import torch
    from torch import Tensor

NO_WORDS: Mapping[str, int] = MappingProxyType({})

Prediction = Literal["epsilon", "v_prediction"]
"""What a denoiser predicts: the noise, or the velocity between noise and latents (arXiv 2202.00512)."""


@dataclass(frozen=True)
class Conditioning:
    """What the denoiser is told of each image.

    ``states`` (B, tokens, width) are the text states it attends to, ``pooled`` (B, width) the embedding of the whole prompt,
    ``time_ids`` (B, 6) SDXL's original size, crop and target size in pixels. Where the text encoders are trained, ``tokens``
    (B, encoders, tokens) are what ``states`` and ``pooled`` were made from, and -1 throughout where nothing is told.
    """

    states: Tensor
    pooled: Tensor
    time_ids: Tensor
    tokens: Tensor | None = None

    def __getitem__(self, chosen: Sequence[int] | Tensor) -> Conditioning:
        """That of some of the images, by number or by a mask (B,)."""
        tokens = None if self.tokens is None else self.tokens[chosen]
        return Conditioning(self.states[chosen], self.pooled[chosen], self.time_ids[chosen], tokens)

    def __add__(self, other: Conditioning) -> Conditioning:
        """That of both, one after the other."""
        import torch

        tokens = None if self.tokens is None or other.tokens is None else torch.cat([self.tokens, other.tokens])
        pairs = ((self.states, other.states), (self.pooled, other.pooled), (self.time_ids, other.time_ids))
        states, pooled, time_ids = (torch.cat(pair) for pair in pairs)
        return Conditioning(states, pooled, time_ids, tokens)


class Family(ABC):
    """One model family: its components, conditioning, objective and LoRA targets.

    The pipeline is passed in and never kept, so a family has no state.
    """

    name: str
    denoiser_component: str
    """The part of the pipeline that removes the noise."""
    adapted_components: Sequence[str]
    """The parts that an adapter can change, the denoiser first."""
    reference: Path
    """A folder with the configuration of the family's best known base and no weights: what is true of it before it is there."""
    image_components: Sequence[str]
    """The parts of the pipeline that ``encode_images`` depends on."""
    text_components: Sequence[str]
    """The parts that ``encode_prompts`` depends on."""

    @abstractmethod
    def load(self, folder: Path, dtype: torch.dtype, device: torch.device, denoiser: Any = None) -> Any:
        """The diffusers pipeline in ``folder``, every component in ``dtype`` on ``device``.

        With a ``denoiser`` given that one, and the folder's own is not read.
        """

    @property
    def parts(self) -> tuple[str, ...]:
        """Every part of the pipeline that generating takes."""
        return (*self.text_components, self.denoiser_component, *self.image_components)

    def denoiser(self, pipeline: Any) -> Any:
        """The network that is trained and carries the adapter."""
        return getattr(pipeline, self.denoiser_component)

    def configuration(self, folder: Path, part: str) -> Mapping[str, Any]:
        """How the ``part`` of the base in ``folder`` is built."""
        values: Mapping[str, Any] = read_json(folder / part / "config.json")
        return values

    @abstractmethod
    def resolution(self, folder: Path) -> int:
        """Width and height in pixels that the base in ``folder`` was trained at."""

    @abstractmethod
    def build_component(self, part: str, configuration: Mapping[str, Any]) -> Any:
        """An untrained ``part`` with weights, of that configuration, made on torch's default device."""

    single_file: Mapping[str, str]
    """Part with weights → how the names of its tensors begin in a checkpoint that is one file."""

    @abstractmethod
    def origins(self, part: str, model: Any) -> Mapping[str, CheckpointKey]:
        """The name of each tensor of the ``part`` → where it lies in what was published, before diffusers renamed it."""

    @abstractmethod
    def empty_inputs(self, configuration: Mapping[str, Any], count: int, resolution: int) -> tuple[Tensor, Conditioning]:
        """Noisy latents and conditioning of the shapes that such a denoiser takes for ``count`` images."""

    @abstractmethod
    def decode_empty(self, autoencoder: Any, count: int, size: int) -> None:
        """Decode latents of ``count`` images of ``size`` × ``size`` pixels, for the memory it takes."""

    @abstractmethod
    def encode_images(self, pipeline: Any, images: Tensor) -> Tensor:
        """Images (B, 3, height, width) in -1 … 1 → scaled latents (B, channels, height / 8, width / 8), float32."""

    @abstractmethod
    def decode_images(self, pipeline: Any, latents: Tensor, tile: int | None = None) -> Tensor:
        """The inverse of ``encode_images``: scaled latents → images in -1 … 1, float32.

        Larger images than ``tile`` pixels are decoded in overlapping tiles of that edge, which takes less memory and shifts
        colours a little.
        """

    @abstractmethod
    def lora_targets(self, part: str) -> Mapping[str, Sequence[str]]:
        """Name of a target set → endings of the modules of ``part`` that get an adapter."""

    def unread(self, part: str, model: Any) -> Sequence[str]:  # noqa: ARG002
        """Beginnings of the names of modules of ``part`` whose output nothing reads: an adapter there would learn nothing."""
        return ()

    def lora_modules(self, part: str, model: Any, targets: str) -> list[str]:
        """The names of the modules of ``part`` that the target set called ``targets`` adapts."""
        endings = tuple(f".{ending}" for ending in self.lora_targets(part)[targets])
        unread = tuple(self.unread(part, model))
        names = [name for name, _ in model.named_modules() if f".{name}".endswith(endings)]
        return [name for name in names if not name.startswith(unread)] if unread else names

    room: int
    """How many tokens of a prompt the text encoders read at once, between the marks of its start and end."""

    @abstractmethod
    def readers(self, pipeline: Any) -> Mapping[str, tuple[Any, Any]]:
        """By text encoder its tokenizer and itself."""

    @abstractmethod
    def read(self, pipeline: Any, text: str, words: Mapping[str, int] = NO_WORDS) -> list[list[int]]:
        """The tokens of ``text`` for each text encoder, any number, without marks.

        ``words`` are those that the encoders know besides their own and the number of tokens that stand for each; these are
        numbered from the size of the encoder's own vocabulary on.
        """

    @abstractmethod
    def framed(self, pipeline: Any, tokens: Sequence[Sequence[int]]) -> Tensor:
        """Tokens of each encoder, as many as there is room for at most, between their marks and filled up (encoders, tokens)."""

    def tokens(self, pipeline: Any, prompts: Sequence[str], words: Mapping[str, int] = NO_WORDS) -> Tensor:
        """Prompts → the tokens that each text encoder reads of them, int64 (B, encoders, tokens); ``words`` as for ``read``."""
        import torch

        read = [[tokens[: self.room] for tokens in self.read(pipeline, prompt, words)] for prompt in prompts]
        return torch.stack([self.framed(pipeline, each) for each in read])

    @abstractmethod
    def vectors(self, pipeline: Any, text: str) -> dict[str, Tensor]:
        """By text encoder, what it reads ``text`` as: a vector for each of its tokens (tokens, width), float32."""

    @abstractmethod
    def encode_tokens(self, parts: Mapping[str, Any], tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens → text states (B, tokens, width) and pooled embeddings (B, width), by the text encoders among ``parts``."""

    def encode_prompts(self, pipeline: Any, prompts: Sequence[str], words: Mapping[str, int] = NO_WORDS) -> tuple[Tensor, Tensor]:
        """Prompts → text states (B, tokens, width) and pooled embeddings (B, width), float32; ``words`` as for ``read``."""
        import torch

        parts = {part: getattr(pipeline, part) for part in self.text_components}
        with torch.no_grad():
            states, pooled = self.encode_tokens(parts, self.tokens(pipeline, prompts, words))
        return states.float(), pooled.float()

    @abstractmethod
    def truncated_text(self, folder: Path, prompts: Sequence[str]) -> list[str]:
        """Of each prompt the end that the text encoders of the base in ``folder`` do not read; empty when they read it all."""

    @abstractmethod
    def alphas_cumprod(self, pipeline: Any) -> Tensor:
        """The cumulated alphas of the training noise schedule, (timesteps,), falling from one to nearly zero."""

    @abstractmethod
    def prediction(self, pipeline: Any) -> Prediction:
        """What the denoiser was trained to predict."""

    @abstractmethod
    def predict(self, denoiser: Any, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        """What the denoiser predicts for ``noisy`` latents at ``timesteps``, of the latents' shape."""
