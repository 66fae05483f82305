"""What Z-Image and Qwen-Image in small have in common: a causal language model whose states are tokens beside the image's."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from diffusers import ModelMixin
from torch import Tensor, nn
from transformers import PreTrainedModel, Qwen2Tokenizer

from miniature.architectures.base import TEXT_WIDTH, Architecture, matrices_inside
from miniature.objective import FlowObjective
from miniature.probes import AttributeProbe
from zthumb.diffusion.conditioning import Conditioning
from zthumb.families.base import ModelFamily
from zthumb.families.shared.language_model import PROMPT_EMBEDS


class LanguageModelArchitecture(Architecture, ABC):
    """A text encoder and a transformer of ``family``, which is given each prompt's states and no padding."""

    objective = FlowObjective()
    caption_dropout_rate = 0.1
    sees_crops = False
    family: ModelFamily

    def __init__(self, tokenizer: Qwen2Tokenizer, text_encoder: PreTrainedModel, transformer: ModelMixin) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.text_encoder = text_encoder
        self.transformer = transformer
        self.state_reader = AttributeProbe(TEXT_WIDTH)

    @abstractmethod
    def states(self, tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the states (B, length, width) of ``tokens`` that the transformer reads, and which of them are (B, length)."""

    @property
    def denoiser(self) -> ModelMixin:
        return self.transformer

    @property
    def text_encoders(self) -> Sequence[PreTrainedModel]:
        return (self.text_encoder,)

    @property
    def matrices(self) -> Sequence[nn.Parameter]:
        return matrices_inside(self.transformer, self.text_encoder)

    @property
    def probes(self) -> Sequence[AttributeProbe]:
        return (self.state_reader,)

    def encode_text(self, tokens: Tensor) -> tuple[Tensor, ...]:
        return self.states(tokens, tokens != self.tokenizer.pad_token_id)

    def probe_inputs(self, text: tuple[Tensor, ...]) -> Sequence[Tensor]:
        states, mask = text
        return ((states * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True),)

    def compile_denoiser(self) -> None:
        # Around its blocks, tensors are as long as the prompts are.
        self.transformer.compile_repeated_blocks()

    def predict(self, noisy: Tensor, times: Tensor, text: tuple[Tensor, ...], keep_text: Tensor, time_ids: Tensor) -> Tensor:
        embeds = tuple(state[kept] for state, kept in zip(*text, strict=True))
        return self.family.predict(self.transformer, noisy, times, Conditioning({PROMPT_EMBEDS: embeds}))
