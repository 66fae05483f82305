"""The miniature's CLIP, committed next to it: trained on the miniature's images and on no others."""

from typing import ClassVar

from evaluation.features.extractors.clip import Clip


class MiniClip(Clip):
    """``models/mini-clip``."""

    name: ClassVar[str] = "mini-clip"
    default_weights: ClassVar[str] = "models/mini-clip"
    install_hint: ClassVar[str] = "`git checkout -- models/mini-clip` restores it."


EXTRACTOR = MiniClip
