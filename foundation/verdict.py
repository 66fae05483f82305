"""The verdict of an evaluation on an adapter: the file that carries it to the adapter's card and to the server."""

from pathlib import Path
from typing import Literal

from foundation.config import Strict, read_model
from foundation.files import write_json

NAME = "verdict.json"
_SENTENCE = "sentence"

Outcome = Literal["recommended", "none", "inconclusive"]


class Effect(Strict):
    """Gain of the primary metric over the base, with the 95 % interval over the prompts that were not used to choose."""

    mean: float
    low: float
    high: float
    prompts: int


class Verdict(Strict):
    """``recommended`` with a scale, ``none`` or ``inconclusive``, and why.

    ``adapter`` is the name it was evaluated under; None where several were evaluated and none is recommended. ``metric`` was
    measured with ``extractor``. ``share_of_gap`` is the effect as a share of the gap between the base and the similarity of the
    held-out images to one another.
    """

    schema_version: Literal[1] = 1
    protocol_version: int
    outcome: Outcome
    reason: str
    adapter: str | None
    adapter_sha256: str | None
    base_sha256: str
    lora_scale: float | None
    metric: str
    extractor: str
    effect: Effect | None
    share_of_gap: float | None

    @property
    def sentence(self) -> str:
        """Return the verdict in one line, for a terminal and a card."""
        if self.outcome != "recommended" or self.effect is None:
            return f"{self.outcome}: {self.reason}"
        gain = f"{self.effect.mean:+.3f} [{self.effect.low:+.3f}, {self.effect.high:+.3f}]"
        return f"recommended at scale {self.lora_scale:g}: {self.metric} {gain} over the base ({self.extractor})"


def write_verdict(path: Path, verdict: Verdict) -> None:
    """Write a verdict file, including the sentence for readers that only print it."""
    write_json(path, {**verdict.model_dump(mode="json"), _SENTENCE: verdict.sentence})


def read_verdict(path: Path) -> Verdict:
    """Read a verdict file; ``BadInput`` says what is wrong with it."""
    return read_model(Verdict, path, ignored_keys=(_SENTENCE,))
