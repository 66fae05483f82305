"""The miniature's CLIP, committed beside it: it knows the miniature's world and no other."""

from typing import ClassVar

from evaluation.extractors.clip import Clip


class MiniClip(Clip):
    """``models/mini-clip``."""

    name: ClassVar[str] = "mini-clip"
    usual: ClassVar[str] = "models/mini-clip"
    advice: ClassVar[str] = "`git checkout -- models/mini-clip` brings it back."


EXTRACTOR = MiniClip
