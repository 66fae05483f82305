"""From the command to an image: a small text encoder is distilled and takes the place of the large one it fits."""

from pathlib import Path

import pytest

from foundation.errors import BadInput
from tests.conftest import MINIATURE
from tests.zthumb.families import random_miniatures
from training.distill_text_encoder import main
from zthumb.sources.bases import find_base
from zthumb.sources.resolve import Resolver
from zthumb.text_to_image import TextToImage

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def flux(tmp_path_factory: pytest.TempPathFactory) -> Path:
    models = tmp_path_factory.mktemp("models")
    (models / "mini-sdxl").symlink_to(MINIATURE)
    random_miniatures.write_flux(models / "mini-sdxl", models / "random-flux")
    return models / "random-flux"


@pytest.fixture(scope="module")
def encoder(flux: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("distilled")
    captions = folder / "captions.txt"
    captions.write_text("\n".join(f"a {colour} {shape}" for colour in ("red", "blue", "white") for shape in ("star", "ring")))
    arguments = [str(flux), "--captions", str(captions), "--output", str(folder / "out"), "--layers", "1", "--width", "32"]
    assert main([*arguments, "--steps", "3", "--batch", "2", "--device", "cpu"]) == 0
    return folder / "out" / "encoder"


def test_images_are_generated_with_it(flux: Path, encoder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ZTHUMB_DOWNLOAD_FOLDER", str(tmp_path))
    images, sizes = [], []
    for settings in ({}, {"text_encoder": str(encoder)}):
        with TextToImage(str(flux), device="cpu", **settings) as model:
            images.append(model.generate("a red star", seed=1, steps=2)[0].data)
            sizes.append(model.predicted_memory("a red star", 1))
    # Another encoder, another image; less memory is predicted for it.
    assert images[0] != images[1]
    assert sizes[0] != sizes[1]


def test_it_takes_the_place_of_no_other_encoder(encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="takes the place of a large one of flux; mini-sdxl is sdxl"):
        find_base(str(MINIATURE), None, Resolver(models=tmp_path), str(encoder))


def test_a_folder_that_is_no_such_encoder_is_refused(flux: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="was not distilled from the text encoder of random-flux: its project_out_dim is None"):
        find_base(str(flux), None, Resolver(models=tmp_path), str(flux / "text_encoder_2"))
