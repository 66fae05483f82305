"""A small T5 encoder whose states are projected to the width of a large one, which it was distilled from (arXiv 2503.19897).

It takes the large one's tokens. Names of tensors and of the configuration are those of the published files
(https://huggingface.co/lwang717/ScalingDownTextEncoder).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from transformers import T5Config, T5EncoderModel, T5PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from zthumb.families.base import PROJECTED_WIDTH

_DROPOUT = 0.1


class T5EncoderWithProjection(T5PreTrainedModel):  # type: ignore[misc]
    """T5's encoder, and two linear layers from its width to the ``project_out_dim`` of its configuration."""

    _no_split_modules = ("T5Block",)

    def __init__(self, config: T5Config) -> None:
        super().__init__(config)
        width = getattr(config, PROJECTED_WIDTH)
        self.encoder = T5EncoderModel(config)
        self.final_projection = nn.Sequential(
            nn.Linear(config.d_model, width, bias=False), nn.ReLU(), nn.Dropout(_DROPOUT), nn.Linear(width, width, bias=False)
        )
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """Return the embeddings of tokens."""
        embeddings: nn.Module = self.encoder.get_input_embeddings()
        return embeddings

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **_: Any) -> BaseModelOutput:
        """(batch, tokens) → ``last_hidden_state`` (batch, tokens, ``project_out_dim``)."""
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask)[0]
        return BaseModelOutput(last_hidden_state=self.final_projection(states))
