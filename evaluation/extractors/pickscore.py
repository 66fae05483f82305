"""PickScore: a CLIP that has learned which of two images people choose (Kirstain et al. 2023, arXiv 2305.01569)."""

from typing import ClassVar

from evaluation.extractors.clip import Clip


class PickScore(Clip):
    """Its embeddings; what they say is for the metric ``preference``. The weights' folder must hold its processor's files too."""

    name: ClassVar[str] = "pickscore"
    usual: ClassVar[str] = "models/pickscore"
    advice: ClassVar[str] = (
        "`hf download yuvalkirstain/PickScore_v1 --local-dir models/pickscore` fetches it, and its processor is that of "
        "laion/CLIP-ViT-H-14-laion2B-s32B-b79K: its preprocessor_config.json, tokenizer files, vocab.json and merges.txt."
    )
    is_critic = True


EXTRACTOR = PickScore
