"""Every extractor, with real models: the miniature's, and tiny ones of the same classes as the large ones."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    BertTokenizer,
    BitImageProcessorPil,
    ChineseCLIPConfig,
    ChineseCLIPImageProcessorPil,
    ChineseCLIPModel,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTextConfig,
    CLIPTokenizer,
    CLIPVisionConfig,
    Dinov2Config,
    Dinov2Model,
)

from evaluation.arrays import Pixels
from evaluation.features import extractors
from evaluation.features.extractors import identify, open_extractor, unread_prompt
from evaluation.features.extractors.base import Extractor, TextImageExtractor
from foundation.errors import BadInput
from miniature.drawing import draw
from miniature.world import Accidents, Scene
from tests.conftest import ROOT

MINI_CLIP = ROOT / "models" / "mini-clip"
IMAGES: list[Pixels] = [np.full((40, 30, 3), value, np.uint8) for value in (0, 90, 255)]


@pytest.fixture
def tiny_clip(tmp_path: Path) -> Path:
    """A CLIP with random weights, in the same files as the large ones."""
    torch.manual_seed(0)
    text = CLIPTextConfig(vocab_size=1214, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    vision = CLIPVisionConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=32)
    config = CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=8)
    CLIPModel(config).save_pretrained(tmp_path)
    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=32).save_pretrained(tmp_path)
    CLIPTokenizer.from_pretrained(MINI_CLIP).save_pretrained(tmp_path)
    return tmp_path


@pytest.fixture
def tiny_chinese_clip(tmp_path: Path) -> Path:
    """A Chinese CLIP with random weights that knows the words of two prompts."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys("红色的星星在蓝色背景上猫")]
    text = {**sizes, "vocab_size": len(words)}
    config = ChineseCLIPConfig(text_config=text, vision_config={**sizes, "image_size": 32, "patch_size": 16}, projection_dim=8)
    ChineseCLIPModel(config).save_pretrained(tmp_path)
    ChineseCLIPImageProcessorPil(size={"height": 32, "width": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(
        tmp_path
    )
    (tmp_path / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    BertTokenizer.from_pretrained(tmp_path).save_pretrained(tmp_path)
    return tmp_path


@pytest.fixture
def tiny_dino(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    config = Dinov2Config(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14)
    Dinov2Model(config).save_pretrained(tmp_path)
    BitImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}).save_pretrained(tmp_path)
    return tmp_path


def _check_features(extractor: Extractor) -> None:
    features = extractor.embed_images(IMAGES)
    assert features.shape[0] == len(IMAGES)
    assert features.dtype == np.float64
    assert np.linalg.norm(features, axis=1) == pytest.approx(1)
    assert np.array_equal(features, extractor.embed_images(IMAGES))
    if extractor.has_text_encoder:
        assert extractor.embed_texts(["a red star", "a cat"]).shape == (2, features.shape[1])


def test_every_extractor_module_is_found_by_its_name() -> None:
    assert extractors.extractor_names() == ["chinese-clip", "clip", "dinov2", "hog", "mini-clip", "pickscore", "pixel"]


def test_pixel_compares_small_copies_and_is_marked_as_a_smoke_check() -> None:
    extractor = open_extractor("pixel")
    _check_features(extractor)
    assert extractor.identity.is_smoke_check
    black, _, white = extractor.embed_images(IMAGES)
    assert black @ white == pytest.approx(-1)


def test_hog_recognizes_an_outline_in_other_colours_and_at_another_position() -> None:
    extractor = open_extractor("hog")
    shapes = ("star", "kamrol", "bistu")
    first = [draw(Scene(shape, "red", "blue", accidents=Accidents(radius=30, rotation=4))) for shape in shapes]
    second = [draw(Scene(shape, "white", "green", accidents=Accidents(radius=22, offset=(20, -12)))) for shape in shapes]
    first_features, second_features = extractor.embed_images(first), extractor.embed_images(second)
    assert np.linalg.norm(first_features, axis=1) == pytest.approx(1)
    similarity = first_features @ second_features.T
    assert similarity.diagonal().min() > 0.8
    assert similarity[~np.eye(len(shapes), dtype=bool)].max() < 0.6


def test_hog_distinguishes_surfaces_within_the_same_outline() -> None:
    extractor = open_extractor("hog")
    accidents = Accidents(radius=35, fill_angle=30)
    plain, striped, recoloured = (
        draw(Scene("square", colour, "white", fill=fill, second=second, accidents=accidents))
        for colour, fill, second in (("red", "plain", "blue"), ("red", "striped", "blue"), ("green", "striped", "purple"))
    )
    features = extractor.embed_images([plain, striped, recoloured])
    assert features[1] @ features[2] > 0.95 > features[0] @ features[1]


@pytest.mark.parametrize("name", ["hog", "pixel"])
def test_weights_for_an_extractor_without_weights_are_refused(name: str) -> None:
    for function in (identify, open_extractor):
        with pytest.raises(BadInput, match=f"the extractor {name} has no weights"):
            function(f"{name}=models/x")


def test_hog_of_an_empty_image_is_similar_to_nothing() -> None:
    features = open_extractor("hog").embed_images([np.full((40, 30, 3), 90, np.uint8), draw(Scene("star", "red", "blue"))])
    assert np.isfinite(features).all()
    assert features[0] @ features[1] == 0


def test_mini_clip_puts_images_near_their_captions() -> None:
    extractor = open_extractor(f"mini-clip={MINI_CLIP}")
    _check_features(extractor)
    images = extractor.embed_images([draw(Scene("star", "red", "blue")), draw(Scene("ring", "white", "black"))])
    texts = extractor.embed_texts(["a photo of a red star on a blue background", "a photo of a white ring on a black background"])
    cosines = images @ texts.T
    assert cosines[0, 0] > cosines[0, 1] + 0.3
    assert cosines[1, 1] > cosines[1, 0] + 0.3


def test_chinese_clip_tells_texts_in_chinese_apart(tiny_chinese_clip: Path) -> None:
    extractor = open_extractor(f"chinese-clip={tiny_chinese_clip}")
    _check_features(extractor)
    assert isinstance(extractor, TextImageExtractor)
    star, cat, again = extractor.embed_texts(["蓝色背景上的红色星星", "猫", "蓝色背景上的红色星星"])
    assert star == pytest.approx(again)
    assert np.abs(star - cat).max() > 1e-4


@pytest.mark.parametrize(
    ("spec", "text", "is_read"),
    [
        ("clip", "a photo of a café, 35 mm", True),
        ("clip", "蓝色背景上的红色星星", False),
        ("mini-clip", "a red звезда", False),
        ("chinese-clip", "蓝色背景上的红色星星", True),
        ("chinese-clip", "一张kamrol的照片", True),
        ("chinese-clip", "a photo of a star", False),
        ("chinese-clip", "时々", True),
        ("clip", "5 µm macro, nº 5", True),
        ("clip", "", True),
        ("chinese-clip", "", True),
        ("chinese-clip", "2026", True),
    ],
)
def test_an_extractor_says_which_languages_it_reads(spec: str, text: str, is_read: bool) -> None:
    assert (unread_prompt([spec], [text]) is None) is is_read


def test_one_extractor_that_reads_every_prompt_is_enough() -> None:
    prompts = ["蓝色背景上的红色星星", "一只猫"]

    assert unread_prompt(["hog", "clip", "chinese-clip"], prompts) is None
    assert unread_prompt(["hog", "clip"], prompts) == prompts[0]
    # A model of preference is asked for itself
    assert unread_prompt(["chinese-clip", "pickscore"], prompts) is None
    assert unread_prompt(["chinese-clip", "pickscore"], prompts, is_preference=True) == prompts[0]
    # Where none embeds texts, nothing is compared with them
    assert unread_prompt(["hog"], prompts) is None


@pytest.mark.parametrize("name", ["clip", "pickscore"])
def test_a_clip_in_a_folder_is_identified_by_its_hash(tiny_clip: Path, name: str) -> None:
    extractor = open_extractor(f"{name}={tiny_clip}")
    _check_features(extractor)
    assert extractor.identity.weights == str(tiny_clip)
    assert extractor.identity.revision.startswith("sha256:")
    assert extractor.is_preference_model is (name == "pickscore")


def test_dinov2_in_a_folder_is_opened(tiny_dino: Path) -> None:
    extractor = open_extractor(f"dinov2={tiny_dino}")
    _check_features(extractor)
    assert not extractor.has_text_encoder
    assert extractor.identity.name == "dinov2"


def test_the_features_of_an_image_do_not_depend_on_the_rest_of_its_batch(tiny_dino: Path) -> None:
    extractor = open_extractor(f"dinov2={tiny_dino}")
    assert extractor.embed_images(IMAGES)[1] == pytest.approx(extractor.embed_images(IMAGES[1:2])[0], abs=1e-5)


@pytest.mark.parametrize("spec", ["clip", "dinov2", "pickscore", "clip=nobody/nothing@main"])
def test_missing_weights_are_an_error_that_says_where_they_were_looked_for(
    spec: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match="neither a folder nor in the hub's cache"):
        open_extractor(spec)


def test_a_model_in_the_hubs_cache_is_identified_by_its_commit(
    tiny_clip: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, commit = tmp_path_factory.mktemp("cache"), "0123456789abcdef0123456789abcdef01234567"
    repository = cache / "models--someone--tiny"
    (repository / "snapshots").mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    (repository / "snapshots" / commit).symlink_to(tiny_clip)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    extractor = open_extractor("clip=someone/tiny")
    assert (extractor.identity.weights, extractor.identity.revision) == ("someone/tiny", commit)


def test_a_repository_may_be_in_the_models_folder(
    tiny_dino: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("folder")
    (folder / "models").mkdir()
    (folder / "models" / "dinov2-base").symlink_to(tiny_dino)
    monkeypatch.chdir(folder)
    assert open_extractor("dinov2").identity.weights == "facebook/dinov2-base"
    assert identify("dinov2").revision.startswith("sha256:")


def test_an_unknown_extractor_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(BadInput, match="Did you mean 'dinov2'"):
        open_extractor("dinov3")
