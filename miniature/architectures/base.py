"""What training a miniature's denoiser asks of its architecture."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTokenizer, PreTrainedModel

from miniature.reading import Reader
from miniature.tokenizer import LENGTH

TEXT_WIDTH, TEXT_LAYERS = 128, 3
TOKEN_DEVIATION, POSITION_DEVIATION = 1.0, 0.3


class Architecture(nn.Module, ABC):
    """The denoiser and the text encoders of one miniature, trained together, and the readers that only help to train them.

    The encoders are trained with the denoiser and not before it: towers trained contrastively first do not keep what it has to
    draw, above all the background's colour.
    """

    unet: UNet2DConditionModel
    empty_captions: float
    """Share of the captions that are replaced by the empty one, for classifier-free guidance (arXiv 2207.12598)."""

    @property
    @abstractmethod
    def text_encoders(self) -> Sequence[PreTrainedModel]:
        """The text encoders, in the order in which the pipeline has them."""

    @property
    @abstractmethod
    def readers(self) -> Sequence[Reader]:
        """One for each vector by caption that ``summaries`` gives."""

    @abstractmethod
    def encode_text(self, tokens: Tensor) -> tuple[Tensor, ...]:
        """Tokens (B, 77) → what the denoiser is conditioned on."""

    @abstractmethod
    def summaries(self, text: tuple[Tensor, ...]) -> Sequence[Tensor]:
        """Of ``encode_text``'s tensors the vectors by caption (B, width) that the readers read."""

    @abstractmethod
    def predict(self, noisy: Tensor, timesteps: Tensor, text: tuple[Tensor, ...], keep_text: Tensor, time_ids: Tensor) -> Tensor:
        """The noise in ``noisy`` (B, 4, h, w).

        Where ``keep_text`` (B,) is false the text counts as not given, if the family knows such a thing. ``time_ids`` (B, 6) are
        SDXL's size and crop.
        """

    def reading_loss(self, text: tuple[Tensor, ...], answers: Tensor) -> Tensor:
        """How badly the readers name the scene (B, attributes) of each caption."""
        losses = [reader(summary, answers) for reader, summary in zip(self.readers, self.summaries(text), strict=True)]
        return torch.stack(losses).sum()


def choose_attention(device: torch.device, *models: UNet2DConditionModel | PreTrainedModel) -> None:
    """Plain matrix products on a CPU: the backward pass of fused attention takes twice as long there at these sizes."""
    for model in models if device.type == "cpu" else ():
        if isinstance(model, UNet2DConditionModel):
            model.set_attn_processor(AttnProcessor())
        else:
            model.set_attn_implementation("eager")


def spread_embeddings(embeddings: Any) -> None:
    """Give a CLIP text encoder's embeddings a start that tells prompts apart.

    CLIP's own, a deviation of 0.02, leaves two prompts nearly alike beside what all prompts share: the denoiser then learns
    colours late and places not at all.
    """
    nn.init.normal_(embeddings.token_embedding.weight, std=TOKEN_DEVIATION)
    nn.init.normal_(embeddings.position_embedding.weight, std=POSITION_DEVIATION)


def text_config(tokenizer: CLIPTokenizer) -> CLIPTextConfig:
    """A CLIP text encoder of 128 channels and 3 layers."""
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=4 * TEXT_WIDTH,
        num_hidden_layers=TEXT_LAYERS,
        num_attention_heads=4,
        max_position_embeddings=LENGTH,
        projection_dim=TEXT_WIDTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
