"""Every extractor, with real models: the miniature's, and tiny ones of the classes that the large ones are of."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    BitImageProcessorPil,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTextConfig,
    CLIPTokenizer,
    CLIPVisionConfig,
    Dinov2Config,
    Dinov2Model,
)

from evaluation import extractors
from evaluation.extractors import identify, open_extractor
from evaluation.extractors.base import Extractor, Pixels
from foundation.errors import BadInput
from miniature.drawing import draw
from miniature.world import Accidents, Scene
from tests.conftest import ROOT

MINI_CLIP = ROOT / "models" / "mini-clip"
IMAGES: list[Pixels] = [np.full((40, 30, 3), value, np.uint8) for value in (0, 90, 255)]


@pytest.fixture
def tiny_clip(tmp_path: Path) -> Path:
    """A CLIP of random weights, in the files that the large ones come in."""
    torch.manual_seed(0)
    text = CLIPTextConfig(vocab_size=1214, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    vision = CLIPVisionConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=32)
    config = CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=8)
    CLIPModel(config).save_pretrained(tmp_path)
    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=32).save_pretrained(tmp_path)
    CLIPTokenizer.from_pretrained(MINI_CLIP).save_pretrained(tmp_path)
    return tmp_path


@pytest.fixture
def tiny_dino(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    config = Dinov2Config(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14)
    Dinov2Model(config).save_pretrained(tmp_path)
    BitImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}).save_pretrained(tmp_path)
    return tmp_path


def _is_sound(extractor: Extractor) -> None:
    features = extractor.images(IMAGES)
    assert features.shape[0] == len(IMAGES)
    assert features.dtype == np.float64
    assert np.linalg.norm(features, axis=1) == pytest.approx(1)
    assert np.array_equal(features, extractor.images(IMAGES))
    if extractor.reads_text:
        assert extractor.texts(["a red star", "a cat"]).shape == (2, features.shape[1])


def test_all_extractors_are_found_by_their_names() -> None:
    assert extractors.names() == ["clip", "dinov2", "hog", "mini-clip", "pickscore", "pixel"]


def test_pixels_are_small_copies_and_only_a_smoke_check() -> None:
    extractor = open_extractor("pixel")
    _is_sound(extractor)
    assert extractor.identity.is_smoke_check
    black, _, white = extractor.images(IMAGES)
    assert black @ white == pytest.approx(-1)


def test_histograms_of_gradients_know_an_outline_in_other_colours_and_at_another_place() -> None:
    extractor = open_extractor("hog")
    words = ("star", "kamrol", "bistu")
    one = [draw(Scene(word, "red", "blue", accidents=Accidents(radius=30, rotation=4))) for word in words]
    other = [draw(Scene(word, "white", "green", accidents=Accidents(radius=22, offset=(20, -12)))) for word in words]
    features, others = extractor.images(one), extractor.images(other)
    assert np.linalg.norm(features, axis=1) == pytest.approx(1)
    likeness = features @ others.T
    assert likeness.diagonal().min() > 0.8
    assert likeness[~np.eye(len(words), dtype=bool)].max() < 0.6


def test_histograms_of_gradients_know_a_surface_within_one_outline() -> None:
    extractor = open_extractor("hog")
    accidents = Accidents(radius=35, fill_angle=30)
    plain, striped, recoloured = (
        draw(Scene("square", colour, "white", fill=fill, second=second, accidents=accidents))
        for colour, fill, second in (("red", "plain", "blue"), ("red", "striped", "blue"), ("green", "striped", "purple"))
    )
    features = extractor.images([plain, striped, recoloured])
    assert features[1] @ features[2] > 0.95 > features[0] @ features[1]


@pytest.mark.parametrize("name", ["hog", "pixel"])
def test_weights_for_what_has_none_are_refused(name: str) -> None:
    for ask in (identify, open_extractor):
        with pytest.raises(BadInput, match=f"the extractor {name} has no weights"):
            ask(f"{name}=models/x")


def test_histograms_of_gradients_of_nothing_are_like_nothing() -> None:
    features = open_extractor("hog").images([np.full((40, 30, 3), 90, np.uint8), draw(Scene("star", "red", "blue"))])
    assert np.isfinite(features).all()
    assert features[0] @ features[1] == 0


def test_the_miniatures_clip_puts_images_near_their_words() -> None:
    extractor = open_extractor(f"mini-clip={MINI_CLIP}")
    _is_sound(extractor)
    images = extractor.images([draw(Scene("star", "red", "blue")), draw(Scene("ring", "white", "black"))])
    texts = extractor.texts(["a photo of a red star on a blue background", "a photo of a white ring on a black background"])
    cosines = images @ texts.T
    assert cosines[0, 0] > cosines[0, 1] + 0.3
    assert cosines[1, 1] > cosines[1, 0] + 0.3


@pytest.mark.parametrize("name", ["clip", "pickscore"])
def test_any_clip_in_a_folder_is_named_by_its_hash(tiny_clip: Path, name: str) -> None:
    extractor = open_extractor(f"{name}={tiny_clip}")
    _is_sound(extractor)
    assert extractor.identity.weights == str(tiny_clip)
    assert extractor.identity.revision.startswith("sha256:")
    assert extractor.is_critic is (name == "pickscore")


def test_dinov2_in_a_folder(tiny_dino: Path) -> None:
    extractor = open_extractor(f"dinov2={tiny_dino}")
    _is_sound(extractor)
    assert not extractor.reads_text
    assert extractor.identity.name == "dinov2"


def test_the_features_of_a_image_do_not_depend_on_those_beside_it(tiny_dino: Path) -> None:
    extractor = open_extractor(f"dinov2={tiny_dino}")
    assert extractor.images(IMAGES)[1] == pytest.approx(extractor.images(IMAGES[1:2])[0], abs=1e-5)


@pytest.mark.parametrize("asked", ["clip", "dinov2", "pickscore", "clip=nobody/nothing@main"])
def test_weights_that_are_not_here_are_told_how_to_get(asked: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match="neither a folder nor in the hub's cache"):
        open_extractor(asked)


def test_one_in_the_hubs_cache_is_named_by_its_commit(
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


def test_a_repository_may_lie_in_the_models_folder(
    tiny_dino: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path_factory.mktemp("place")
    (place / "models").mkdir()
    (place / "models" / "dinov2-base").symlink_to(tiny_dino)
    monkeypatch.chdir(place)
    assert open_extractor("dinov2").identity.weights == "facebook/dinov2-base"
    assert identify("dinov2").revision.startswith("sha256:")


def test_an_extractor_that_is_not_is_told_the_nearest() -> None:
    with pytest.raises(BadInput, match="Did you mean 'dinov2'"):
        open_extractor("dinov3")
