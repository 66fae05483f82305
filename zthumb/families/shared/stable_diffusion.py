"""What Stable Diffusion 1.x, 2.x and SDXL have in common: a UNet, an autoencoder of factor eight, a DDPM process."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, get_args

from foundation.errors import BadInput
from foundation.files import read_json
from zthumb.checkpoints import vae_keys
from zthumb.checkpoints.checkpoint_key import CheckpointKey
from zthumb.checkpoints.unet_keys import UNetLayout, to_original
from zthumb.diffusion.ddpm import DDPM, Prediction
from zthumb.families.base import Limits
from zthumb.families.shared.autoencoder_kl import FACTOR, AutoencoderKLFamily
from zthumb.families.shared.clip_text import ClipTextFamily

if TYPE_CHECKING:
    from pathlib import Path

    from zthumb.checkpoints.single_file import SingleFile

_VELOCITY, _ZERO_SNR_MARK = "v_pred", "ztsnr"
"""Empty tensors that mark a single file as trained with v-prediction, and with zero terminal SNR."""

_PREDICTION_KEY = "modelspec.prediction_type"
"""Where the header of a file may state its prediction type (https://github.com/Stability-AI/ModelSpec)."""
_PREDICTIONS = MappingProxyType({"epsilon": "epsilon", "v": "v_prediction", "v_prediction": "v_prediction"})

ZERO_SNR = "rescale_betas_zero_snr"
"""The setting of a scheduler that begins at pure noise (arXiv 2305.08891)."""
_OLD_EDGE = 64
_ALMOST_ZERO = 1e-6

_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
_FEED_FORWARD = ("ff.net.0.proj", "ff.net.2")
_CONVOLUTION = ("conv1", "conv2", "conv_shortcut", "downsamplers.0.conv", "upsamplers.0.conv")
_UNET_TARGETS = MappingProxyType(
    {
        "attention": _ATTENTION,
        "attention+feed-forward": _ATTENTION + _FEED_FORWARD,
        "attention+feed-forward+convolution": _ATTENTION + _FEED_FORWARD + _CONVOLUTION,
    }
)
_TEXT_ATTENTION = ("q_proj", "k_proj", "v_proj", "out_proj")
_TEXT_ALL = (*_TEXT_ATTENTION, "fc1", "fc2")
_TEXT_TARGETS = MappingProxyType(
    {"attention": _TEXT_ATTENTION, "attention+feed-forward": _TEXT_ALL, "attention+feed-forward+convolution": _TEXT_ALL}
)


class StableDiffusion(ClipTextFamily, AutoencoderKLFamily):
    """A UNet conditioned by cross-attention on CLIP text embeddings, over latents of an ``AutoencoderKL``."""

    denoiser_component = "unet"
    size_multiple = FACTOR
    denoiser_mark = "input_blocks.0.0.weight"
    few_step_limits = Limits(steps=(1, 4), default_steps=4, guidance_scale=(0.0, 0.0), default_guidance_scale=0.0)
    # Lightning's adapters take two, four or eight steps without guidance, LCM's up to eight with a little.
    few_step_adapter_limits = Limits(steps=(1, 8), default_steps=8, guidance_scale=(0.0, 2.0), default_guidance_scale=0.0)

    @abstractmethod
    def build_text_encoder(self, component: str, configuration: Mapping[str, Any]) -> Any:
        """Return an untrained text encoder of that configuration."""

    @abstractmethod
    def text_checkpoint_key(self, component: str, name: str, model: Any) -> CheckpointKey:
        """Return the place in published files of a text encoder's tensor called ``name``."""

    def prediction(self, folder: Path) -> str:
        # Schedulers of the first bases do not say so.
        return str(read_json(folder / "scheduler" / "scheduler_config.json").get("prediction_type", "epsilon"))

    def resolution(self, folder: Path) -> int:
        configuration = self.configuration(folder, self.denoiser_component)
        size = configuration["sample_size"]
        edge = int(size if isinstance(size, int) else min(size))
        # Bases of the first versions of diffusers say 32 and were trained at 64, to which diffusers corrects them too.
        is_old = _version(configuration.get("_diffusers_version", "9")) < (0, 9)
        return (_OLD_EDGE if is_old and edge < _OLD_EDGE else edge) * FACTOR

    def build_component(self, component: str, configuration: Mapping[str, Any]) -> Any:
        from diffusers import AutoencoderKL, UNet2DConditionModel

        if component == self.denoiser_component:
            return UNet2DConditionModel.from_config(dict(configuration))
        if component in self.image_components:
            return AutoencoderKL.from_config(dict(configuration))
        return self.build_text_encoder(component, configuration)

    def latent_shape(self, pipeline: Any, height: int, width: int) -> tuple[int, int, int]:
        return int(self.denoiser(pipeline).config.in_channels), height // FACTOR, width // FACTOR

    def process(self, pipeline: Any) -> DDPM:
        prediction = pipeline.scheduler.config.prediction_type
        if prediction not in get_args(Prediction):
            raise BadInput(f"the base's scheduler predicts {prediction!r}; known are {', '.join(get_args(Prediction))}.")
        alphas_cumprod = pipeline.scheduler.alphas_cumprod
        if pipeline.scheduler.config.get(ZERO_SNR) and float(alphas_cumprod[-1]) > _ALMOST_ZERO:
            kind = type(pipeline.scheduler).__name__
            raise BadInput(
                f"the base was trained with zero terminal SNR, which its {kind} cannot do. Name DDIMScheduler instead."
            )
        return DDPM(alphas_cumprod, prediction)

    def use_plain_attention(self, component: str, model: Any) -> None:
        from diffusers.models.attention_processor import AttnProcessor

        if component == self.denoiser_component:
            model.set_attn_processor(AttnProcessor())
        elif component in self.text_components:
            model.set_attn_implementation("eager")

    def lora_targets(self, component: str) -> Mapping[str, Sequence[str]]:
        return _UNET_TARGETS if component == self.denoiser_component else _TEXT_TARGETS

    def stated_scheduler(self, file: SingleFile) -> Mapping[str, Any]:
        stated = _PREDICTIONS.get(file.metadata.get(_PREDICTION_KEY, ""))
        if stated is None:
            stated = "v_prediction" if _VELOCITY in file.shapes or self.predicts_velocity(file) else "epsilon"
        return {"prediction_type": stated, ZERO_SNR: _ZERO_SNR_MARK in file.shapes}

    def predicts_velocity(self, file: SingleFile) -> bool:  # noqa: ARG002
        """Return whether the weights of a single file that does not state its prediction type show that it is velocity."""
        return False

    def original_key(self, module: str, configuration: Mapping[str, Any]) -> CheckpointKey:
        return CheckpointKey(to_original(module, UNetLayout.of(configuration)))

    def checkpoint_keys(self, component: str, model: Any) -> Mapping[str, CheckpointKey]:
        layout = UNetLayout.of(model.config) if component == self.denoiser_component else None

        def key(name: str) -> CheckpointKey:
            if component in self.image_components:
                return vae_keys.of_autoencoder(name, len(model.config.block_out_channels))
            if layout is None:
                return self.text_checkpoint_key(component, name, model)
            module, _, last = name.rpartition(".")
            return CheckpointKey(f"{to_original(module, layout)}.{last}")

        return {name: key(name) for name in model.state_dict()}


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2] if part.isdecimal())
