"""The seam between model families and everything else: what training, serving and file formats ask of a family."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Union

from foundation.files import read_json
from zthumb.diffusion import schedulers
from zthumb.diffusion.conditioning import Conditioning
from zthumb.diffusion.guidance import Guidance

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from zthumb.checkpoints.checkpoint_key import CheckpointKey
    from zthumb.checkpoints.single_file import SingleFile
    from zthumb.diffusion.process import DiffusionProcess

BASES = Path(__file__).parent / "bases"
"""Configurations of published bases, without weights."""

NO_TOKENS: Mapping[str, int] = MappingProxyType({})
NO_ALIASES: Mapping[str, str] = MappingProxyType({})
NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})
PROJECTED_WIDTH = "project_out_dim"
"""What the configuration of a distilled text encoder has: the width of the states of the large one, whose place it takes."""
Precisions = Union["torch.dtype", Mapping[str, "torch.dtype"]]
"""One precision of all components, or that of each."""


@dataclass(frozen=True)
class ImageSize:
    """Sizes of one image in pixels, (height, width): before it was resized and cropped, and now. ``crop`` is (top, left)."""

    original: tuple[int, int]
    crop: tuple[int, int]
    target: tuple[int, int]

    @classmethod
    def whole(cls, height: int, width: int) -> ImageSize:
        """Return the sizes of an image that was never resized or cropped."""
        return cls((height, width), (0, 0), (height, width))


@dataclass(frozen=True)
class LoraMetadata:
    """What names a base in an adapter's header and card.

    ``version`` is kohya's ``ss_base_model_version``, ``is_v2`` its ``ss_v2``, ``architecture`` the model specification's, ``tag``
    the hub's.
    """

    version: str
    is_v2: bool
    architecture: str
    tag: str


@dataclass(frozen=True)
class Limits:
    """What can be asked of a base: the fewest and most steps, the range of the guidance scale, and both's defaults."""

    steps: tuple[int, int]
    default_steps: int
    guidance_scale: tuple[float, float]
    default_guidance_scale: float


class ModelFamily(ABC):
    """One model family: its components, conditioning, process, LoRA targets and file formats.

    A family has no state: the pipeline is an argument and never kept.
    """

    name: str
    pipeline_class: str
    """The name of its pipeline in diffusers, as a base's ``model_index.json`` has it."""
    denoiser_component: str
    """The component that predicts noise or velocity."""
    adapted_components: Sequence[str]
    """The components that an adapter can change, the denoiser first."""
    references: Sequence[Path]
    """Folders with the configuration of the family's best known bases and no weights: what is true of them before they are there.

    Of two with the same shapes the likelier comes first.
    """
    size_multiple: int
    """Width and height of an image in pixels are multiples of it."""
    limits: Limits
    few_step_limits: Limits
    """Those of a base distilled to few steps."""
    few_step_adapter_limits: Limits | None = None
    """Those of a base with an adapter that makes few steps enough, where they differ."""
    few_step_schedule: Mapping[str, Any] = NO_OPTIONS
    """Settings of the base's scheduler that change with such an adapter."""
    image_components: Sequence[str]
    """The components that ``encode_images`` and ``decode_images`` depend on."""
    decodes_in_full_precision: bool = False
    """Whether the image components compute in fp32 whatever the precision of the rest."""
    text_components: Sequence[str]
    """The components that ``encode_prompts`` depends on."""
    distillable_component: str | None = None
    """The large text encoder that a small one can take the place of, if there is such a kind for the family."""

    is_flow: bool = False
    """Whether its denoisers are trained by flow matching; the settings of DDPM's loss have no meaning then."""
    pipeline_options: Mapping[str, Any] = NO_OPTIONS
    """Arguments of the pipeline's ``from_pretrained`` that leave out what is not used here."""
    schedulers: Sequence[str] = schedulers.DDPM_NAMES
    """The named schedulers that its denoisers can be sampled with."""

    def load(self, folder: Path, dtype: Precisions, device: torch.device, replaced: Mapping[str, Any] = NO_OPTIONS) -> Any:
        """Return the diffusers pipeline in ``folder``, every component in ``dtype`` on ``device``.

        Components that are ``replaced`` take the place of the folder's own, which are not read then, and stay where they are.
        """
        import diffusers
        from diffusers.utils import logging
        from torch import nn

        logging.disable_progress_bar()
        pipeline = getattr(diffusers, self.pipeline_class).from_pretrained(
            folder, dtype=dtype, local_files_only=True, use_safetensors=True, **self.pipeline_options, **replaced
        )
        pipeline.set_progress_bar_config(disable=True)
        for name, component in pipeline.components.items():
            if isinstance(component, nn.Module):
                component.requires_grad_(False)
                if name not in replaced:
                    component.to(device)
        return pipeline

    def is_few_step(self, folder: Path) -> bool:  # noqa: ARG002
        """Return whether the base in ``folder`` says of itself that it was distilled to few steps."""
        return False

    @property
    def components(self) -> tuple[str, ...]:
        """Every component that generating an image takes."""
        return (*self.text_components, self.denoiser_component, *self.image_components)

    def dtype(self, pipeline: Any) -> torch.dtype:
        """Return the dtype of conditioning in ``pipeline``: that of its last text encoder."""
        models = (getattr(pipeline, component) for component in reversed(self.text_components))
        dtype: torch.dtype = next(model.dtype for model in models if hasattr(model, "dtype"))
        return dtype

    def latents_dtype(self, pipeline: Any) -> torch.dtype:
        """Return the dtype that latents have between steps: in diffusers' pipelines of most families that of the conditioning."""
        return self.dtype(pipeline)

    def denoiser(self, pipeline: Any) -> Any:
        """Return the network that is trained and carries the adapter."""
        return getattr(pipeline, self.denoiser_component)

    def configuration(self, folder: Path, component: str) -> Mapping[str, Any]:
        """Return the configuration of a component of the base in ``folder``."""
        values: Mapping[str, Any] = read_json(folder / component / "config.json")
        return values

    def distillable_tokens(self, pipeline: Any, prompts: Sequence[str]) -> Tensor:
        """Return the tokens (B, length) that the distillable text encoder of ``pipeline`` is given for ``prompts``."""
        raise NotImplementedError(f"{self.name} has no distillable text encoder")

    @abstractmethod
    def prediction(self, folder: Path) -> str:
        """Return what the denoiser of the base in ``folder`` predicts, as ``metadata`` takes it."""

    @abstractmethod
    def resolution(self, folder: Path) -> int:
        """Return the width and height in pixels that the base in ``folder`` was trained at."""

    @abstractmethod
    def build_component(self, component: str, configuration: Mapping[str, Any]) -> Any:
        """Return an untrained component of that configuration on torch's default device, which may be meta."""

    # Images and latents

    @abstractmethod
    def encode_images(self, pipeline: Any, images: Tensor) -> Tensor:
        """Return the scaled latents (B, channels, h, w), float32, of images (B, 3, height, width) in -1 … 1."""

    @abstractmethod
    def decode_latents(self, pipeline: Any, latents: Tensor, tile: int | None = None) -> Tensor:
        """Return the images in -1 … 1, float32, of scaled latents: the inverse of ``encode_images``.

        Images larger than ``tile`` pixels are decoded in overlapping tiles of that edge: less memory, colours shifted a little.
        """

    @abstractmethod
    def latent_shape(self, pipeline: Any, height: int, width: int) -> tuple[int, int, int]:
        """Return the shape (channels, h, w) of the latents of an image of that size in pixels."""

    # Prompts and conditioning

    @abstractmethod
    def encode_prompts(
        self, pipeline: Any, prompts: Sequence[str], learned_tokens: Mapping[str, int] = NO_TOKENS
    ) -> Conditioning:
        """Return the conditioning of ``prompts``, float32, without sizes.

        ``learned_tokens`` are words that the text encoders know besides their own vocabulary, with the number of tokens of each.
        """

    def with_sizes(self, conditioning: Conditioning, sizes: Sequence[ImageSize]) -> Conditioning:  # noqa: ARG002
        """Return ``conditioning`` with the images' sizes added, if the family conditions on them."""
        return conditioning

    def with_guidance(self, denoiser: Any, conditioning: Conditioning, guidance: Guidance) -> Conditioning:  # noqa: ARG002
        """Return ``conditioning`` with the guidance scale added, if the denoiser is told it."""
        return conditioning

    def equalize(self, pipeline: Any, prompts: Sequence[Conditioning]) -> list[Conditioning]:  # noqa: ARG002
        """Return the conditioning of each prompt, padded to the length of the longest where the family needs equal lengths."""
        return list(prompts)

    @abstractmethod
    def unconditional(self, pipeline: Any, like: Conditioning) -> Conditioning:
        """Return the conditioning of one image without a prompt, without sizes, of the length and dtype of ``like``."""

    @abstractmethod
    def truncated_text(self, folder: Path, prompts: Sequence[str]) -> list[str]:
        """Return the end of each prompt that the text encoders of the base in ``folder`` do not read; empty if they read it."""

    @abstractmethod
    def truncated_prompt(self, pipeline: Any, prompt: str, learned_tokens: Mapping[str, int] = NO_TOKENS) -> str:
        """Return the words of ``prompt`` after the last that the pipeline's text encoders read; empty if they read it all."""

    # Denoising

    @abstractmethod
    def process(self, pipeline: Any) -> DiffusionProcess:
        """Return the diffusion process that the pipeline's denoiser was trained with."""

    @abstractmethod
    def predict(self, denoiser: Any, noisy: Tensor, times: Tensor, conditioning: Conditioning) -> Tensor:
        """Return what the denoiser predicts for ``noisy`` latents at ``times`` (B,), of the latents' shape."""

    def guidance(self, scale: float, true_cfg_scale: float = 1.0) -> Guidance:  # noqa: ARG002
        """Return how predictions are guided at a guidance scale as the family's diffusers pipeline takes it.

        ``true_cfg_scale`` is that of classifier-free guidance in families whose denoiser is told the other one.
        """
        return Guidance(scale)

    def set_timesteps(self, pipeline: Any, scheduler: Any, steps: int, latents: Tensor) -> None:  # noqa: ARG002
        """Set the timesteps of a fresh ``scheduler`` for ``latents`` (B, channels, h, w), as the family's ``pipeline`` does."""
        scheduler.set_timesteps(steps, device=latents.device)

    def sample(
        self,
        pipeline: Any,
        prompts: Sequence[str],
        size: ImageSize,
        steps: int,
        guidance_scale: float,
        generators: Sequence[torch.Generator],
        learned_tokens: Mapping[str, int] = NO_TOKENS,
    ) -> Tensor:
        """Return the latents (B, channels, h, w) of images of ``prompts``, all of one size, with the base's own scheduler.

        ``generators`` are one CPU generator for each image.
        """
        from zthumb.families.shared.plain_sampling import sample

        return sample(self, pipeline, prompts, size, steps, guidance_scale, generators, learned_tokens)

    def use_plain_attention(self, component: str, model: Any) -> None:  # noqa: ARG002
        """Make ``model`` compute attention as matrix products, whose backward pass takes half as long on a CPU at small sizes.

        A family whose models cannot leave fused attention does nothing.
        """
        return

    @abstractmethod
    def dummy_inputs(
        self, configuration: Mapping[str, Any], count: int, height: int, width: int, tokens: int | None = None
    ) -> tuple[Tensor, Conditioning]:
        """Return noisy latents and conditioning of the shapes that such a denoiser takes for ``count`` images.

        ``height`` and ``width`` are in pixels. Each prompt has so many ``tokens``, by default the most that one can have.
        """

    @abstractmethod
    def decode_dummy(self, autoencoder: Any, count: int, height: int, width: int) -> None:
        """Decode latents of ``count`` images of ``height`` × ``width`` pixels, to measure the memory it takes."""

    # Adapters

    @abstractmethod
    def lora_targets(self, component: str) -> Mapping[str, Sequence[str]]:
        """Return by name of a target set the suffixes of the modules of ``component`` that get an adapter."""

    def unused_modules(self, component: str, model: Any) -> Sequence[str]:  # noqa: ARG002
        """Return prefixes of modules of ``component`` that get no adapter: nothing reads their output, or nobody adapts them."""
        return ()

    def lora_modules(self, component: str, model: Any, targets: str) -> list[str]:
        """Return the names of the modules of ``component`` that the target set called ``targets`` adapts."""
        suffixes = tuple(f".{suffix}" for suffix in self.lora_targets(component)[targets])
        unused = tuple(self.unused_modules(component, model))
        # A list of modules may have the name that a single one has elsewhere.
        names = [name for name, module in model.named_modules() if f".{name}".endswith(suffixes) and not any(module.children())]
        return [name for name in names if not name.startswith(unused)] if unused else names

    lora_prefixes: Mapping[str, str]
    """Component → prefix of the names of its modules in a kohya file."""
    diffusers_prefixes: Mapping[str, str] = NO_ALIASES
    """Component → prefix of its modules in a file of the diffusers layout, where more programs read another than its name."""
    other_lora_prefixes: Mapping[str, str]
    """Prefix that some kohya files have → the one that is meant."""
    module_prefixes: Mapping[str, Sequence[str]]
    """Component → prefixes of the paths of its modules in other programs' files, besides its own name.

    Behind those of the denoiser its modules have their original names, behind the others diffusers' own.
    """

    def other_modules(self, name: str) -> Sequence[str]:  # noqa: ARG002
        """Return the denoiser's modules that a program's own ``name`` stands for, from the first row of its tensors to the last.

        None for a name that is made of the others.
        """
        return ()

    embedding_keys: Mapping[str, str]
    """Name of the tensor of learned tokens in an embedding file → the text encoder whose input it is."""

    @abstractmethod
    def original_key(self, module: str, configuration: Mapping[str, Any]) -> CheckpointKey:
        """Return the place of the denoiser's ``module`` in published checkpoints; raise ``ValueError`` if it has none."""

    def lora_module_key(self, component: str, module: str, configuration: Mapping[str, Any]) -> CheckpointKey:
        """Return the place of ``module`` of ``component`` in a kohya file, without its prefix and with dots.

        ``configuration`` is the denoiser's, whose modules have their original names there. Raises ``ValueError`` for a module
        that has no such place.
        """
        from zthumb.checkpoints.checkpoint_key import CheckpointKey

        is_denoiser = component == self.denoiser_component
        return self.original_key(module, configuration) if is_denoiser else CheckpointKey(module)

    def lora_key(self, path: str, configuration: Mapping[str, Any]) -> CheckpointKey:
        """Return the place in a kohya file of the module at ``path``, which begins with the component.

        Raises ``ValueError`` for a module that has no such place.
        """
        component, module = path.split(".", 1)
        key = self.lora_module_key(component, module, configuration)
        return replace(key, name=self.lora_prefixes[component] + key.name.replace(".", "_"))

    def file_path(self, component: str, module: str) -> str:  # noqa: ARG002
        """Return the path in files of a ``module``, or a tensor, of a loaded ``component``."""
        return module

    @abstractmethod
    def metadata(self, configuration: Mapping[str, Any], prediction: str) -> LoraMetadata:
        """Return what the header and the card of an adapter say of its base, whose denoiser has ``configuration``."""

    def notes_on(self, header: Mapping[str, str]) -> Sequence[str]:  # noqa: ARG002
        """Return what an adapter file's ``header`` says of its training that is not done here, a clause for each."""
        return ()

    # Checkpoint files

    gguf_architecture: str
    """``general.architecture`` of its denoiser's GGUF files, as ComfyUI-GGUF names it."""
    single_file: Mapping[str, str]
    """Component with weights → prefix of its tensors in a checkpoint that is one file."""

    denoiser_mark: str
    """A tensor that every denoiser of the family has in published files: a file without it is of another family."""
    single_file_aliases: Mapping[str, str] = NO_ALIASES
    """Prefix that some single files have → the one that is meant."""

    unread_tensors: tuple[str, ...] = ()
    """Beginnings of names, in files, of tensors of text encoders that no prompt takes: image towers, and what predicts words."""

    def stated_scheduler(self, file: SingleFile) -> Mapping[str, Any]:  # noqa: ARG002
        """Return the settings of the scheduler that a checkpoint in a single file states; the others are its reference's."""
        return {}

    @abstractmethod
    def checkpoint_keys(self, component: str, model: Any) -> Mapping[str, CheckpointKey]:
        """Return by name of each tensor of the component its place in published files, before diffusers renamed it."""
