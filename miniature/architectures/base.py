"""The interface that an architecture offers to the training of a miniature's denoiser."""

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from diffusers import ModelMixin, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from miniature.objective import Objective
from miniature.probes import AttributeProbe
from miniature.tokenizer import MAX_LENGTH

TEXT_WIDTH, TEXT_LAYERS = 128, 3
TOKEN_STD, POSITION_STD = 1.0, 0.3
_BLOCK = re.compile(r"(?:block|blocks|layers|refiner)\.\d+\.")
_OTHERS = re.compile(r"relative_attention_bias|\bnorm\w*\.linear|adaLN_modulation|_mod\.")


class Architecture(nn.Module, ABC):
    """The denoiser and text encoders of one miniature, trained together, and the probes that exist only during training.

    The text encoders are trained with the denoiser and not before it: encoders pretrained contrastively do not keep what the
    denoiser has to draw, above all the background's colour.
    """

    caption_dropout_rate: float
    """Share of captions replaced by the empty caption, for classifier-free guidance (arXiv 2207.12598)."""
    objective: Objective
    sees_crops: bool = True
    """Whether crops and enlarged images are among the images that it is trained on."""

    @property
    def matrices(self) -> Sequence[nn.Parameter]:
        """The weights that Muon trains; none where AdamW trains all."""
        return ()

    @property
    @abstractmethod
    def denoiser(self) -> ModelMixin:
        """The network that predicts noise or velocity."""

    @property
    @abstractmethod
    def text_encoders(self) -> Sequence[PreTrainedModel]:
        """The text encoders, in the order of the pipeline."""

    @property
    @abstractmethod
    def probes(self) -> Sequence[AttributeProbe]:
        """One probe for each tensor that ``probe_inputs`` returns."""

    @abstractmethod
    def tokenize(self, captions: list[str]) -> Tensor:
        """Return the tokens (B, length) of ``captions`` for all text encoders."""

    @abstractmethod
    def encode_text(self, tokens: Tensor) -> tuple[Tensor, ...]:
        """Encode tokens (B, length) as the denoiser's text conditioning."""

    @abstractmethod
    def probe_inputs(self, text: tuple[Tensor, ...]) -> Sequence[Tensor]:
        """Return one vector per caption (B, width) for each probe, taken from the tensors of ``encode_text``."""

    @abstractmethod
    def predict(self, noisy: Tensor, times: Tensor, text: tuple[Tensor, ...], keep_text: Tensor, time_ids: Tensor) -> Tensor:
        """Predict the target of the objective from ``noisy`` (B, channels, h, w) at ``times`` (B,).

        Where ``keep_text`` (B,) is false the text conditioning is dropped, if the family has such a thing. ``time_ids`` (B, 6)
        are SDXL's size and crop conditioning.
        """

    def compile_denoiser(self) -> None:
        """Compile the denoiser in place, as far as that makes training faster."""

    def probe_loss(self, text: tuple[Tensor, ...], labels: Tensor) -> Tensor:
        """Return the sum of the probes' losses for the ``labels`` (B, attributes) of the captions."""
        losses = [probe(features, labels) for probe, features in zip(self.probes, self.probe_inputs(text), strict=True)]
        return torch.stack(losses).sum()


def matrices_inside(*models: nn.Module) -> list[nn.Parameter]:
    """Return the weights of projections inside the numbered blocks of transformers, without those that modulate."""
    return [
        parameter
        for model in models
        for name, parameter in model.named_parameters()
        if parameter.ndim == 2 and _BLOCK.search(name) and not _OTHERS.search(name)
    ]


def choose_attention(device: torch.device, *models: ModelMixin | PreTrainedModel) -> None:
    """Use plain matrix products on a CPU: the backward pass of fused attention takes twice as long there at these sizes.

    A denoiser that knows fused attention alone keeps it.
    """
    for model in models if device.type == "cpu" else ():
        if isinstance(model, UNet2DConditionModel):
            model.set_attn_processor(AttnProcessor())
        elif isinstance(model, PreTrainedModel):
            model.set_attn_implementation("eager")


def tokenize(tokenizer: PreTrainedTokenizerBase, captions: list[str]) -> Tensor:
    """Return the tokens (B, length) of ``captions``, padded and cut to the tokenizer's own length."""
    tokens: Tensor = tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids
    return tokens


def init_embeddings(embeddings: Any) -> None:
    """Initialize the embeddings of a CLIP text encoder with a standard deviation large enough to separate prompts.

    With CLIP's own standard deviation of 0.02, two prompts differ little compared to what all prompts share: the denoiser then
    learns colours late and positions not at all.
    """
    nn.init.normal_(embeddings.token_embedding.weight, std=TOKEN_STD)
    nn.init.normal_(embeddings.position_embedding.weight, std=POSITION_STD)


def text_config(tokenizer: CLIPTokenizer) -> CLIPTextConfig:
    """Return the configuration of a CLIP text encoder of 128 channels and 3 layers."""
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=4 * TEXT_WIDTH,
        num_hidden_layers=TEXT_LAYERS,
        num_attention_heads=4,
        max_position_embeddings=MAX_LENGTH,
        projection_dim=TEXT_WIDTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
