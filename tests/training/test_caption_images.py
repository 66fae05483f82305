"""Captioning by a tiny BLIP with random weights: the captions mean nothing, but every image without one gets one."""

from pathlib import Path

import pytest
import torch
from transformers import BertTokenizer, BlipConfig, BlipForConditionalGeneration, BlipImageProcessorPil

from training import caption_images

pytestmark = pytest.mark.slow

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "a", "red", "blue", "plate", "letter", "photo", "on", "of"]


@pytest.fixture
def blip(tmp_path: Path) -> Path:
    folder = tmp_path / "blip"
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    small = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {
        **small,
        "vocab_size": len(VOCABULARY),
        "encoder_hidden_size": 32,
        "bos_token_id": 5,
        "eos_token_id": 3,
        "sep_token_id": 3,
    }
    torch.manual_seed(0)
    config = BlipConfig(text_config=text, vision_config={**small, "image_size": 32, "patch_size": 16})
    BlipForConditionalGeneration(config).save_pretrained(folder)
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    BlipImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def test_images_without_a_caption_get_one_with_the_trigger_and_the_others_stay_unchanged(dataset: Path, blip: Path) -> None:
    captions = sorted((dataset / "raw").glob("*.txt"))
    existing = captions[0].read_text()
    for caption in captions[1:]:
        caption.unlink()

    assert caption_images.main(["--dataset", str(dataset), "--model", str(blip)]) == 0

    assert captions[0].read_text() == existing
    written = [caption.read_text() for caption in captions[1:]]
    assert all(text.startswith("zbadge, ") for text in written)
    assert {word for text in written for word in text.replace(",", " ").split()} <= {*VOCABULARY, "zbadge"}
    assert caption_images.main(["--dataset", str(dataset), "--model", str(blip)]) == 0
    assert [caption.read_text() for caption in captions[1:]] == written


def test_a_missing_or_unknown_model_is_reported_in_one_line(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    next((dataset / "raw").glob("*.txt")).unlink()
    (tmp_path / "empty").mkdir()
    for arguments, reason in (
        (["--model", "models/gone"], "there is no captioning model"),
        (["--model", str(tmp_path / "empty")], "not a BLIP model"),
        (["--model", str(tmp_path / "empty"), "--captioner", "blib"], "Did you mean 'blip'?"),
    ):
        assert caption_images.main(["--dataset", str(dataset), *arguments]) == 2
        message = capsys.readouterr().err
        assert reason in message
        assert message.count("\n") == 1
