"""PickScore: a CLIP trained on which of two images people prefer (Kirstain et al. 2023, arXiv 2305.01569)."""

from typing import ClassVar

from evaluation.features.extractors.clip import Clip


class PickScore(Clip):
    """Its embeddings are used by the metric ``preference``. The weights' folder must also contain its processor's files."""

    name: ClassVar[str] = "pickscore"
    default_weights: ClassVar[str] = "models/pickscore"
    install_hint: ClassVar[str] = (
        "`hf download yuvalkirstain/PickScore_v1 --local-dir models/pickscore` downloads it; add the processor's files of "
        "laion/CLIP-ViT-H-14-laion2B-s32B-b79K: preprocessor_config.json, the tokenizer files, vocab.json and merges.txt."
    )
    is_preference_model = True


EXTRACTOR = PickScore
