"""Images from Python, without a server, are those of a server."""

import base64
import warnings
from pathlib import Path

import pytest

from foundation.errors import BadInput
from tests.zthumb.server.conftest import models, settings, started  # noqa: F401
from zthumb import TextToImage
from zthumb.server.storage.image_parameters import read_parameters

PROMPT = "a photo of a red star on a blue background"
SMALL = {"steps": 2, "width": 64, "height": 64}


@pytest.fixture
def model(models: Path) -> TextToImage:  # noqa: F811
    return TextToImage(str(models / "mini-sdxl"), models_folder=models)


def test_the_same_parameters_give_the_same_bytes_as_from_the_server(model: TextToImage, models: Path) -> None:  # noqa: F811
    with started(settings(models)) as client:
        request = {**SMALL, "prompt": PROMPT, "seed": 7, "batch": 2, "loras": [{"id": "strong", "weight": 0.5}]}
        response = client.post("/generate", json=request).json()
    with model:
        model.load_lora_weights(models / "lora" / "strong" / "strong.safetensors", scale=0.5)
        images = model.generate(PROMPT, seed=7, num=2, **SMALL)
    assert [image.data for image in images] == [base64.b64decode(image["b64_json"]) for image in response["images"]]


def test_an_adapter_is_applied_until_it_is_unloaded(model: TextToImage, models: Path) -> None:  # noqa: F811
    with model:
        base = model.generate(PROMPT, seed=7, **SMALL)[0]
        model.load_lora_weights(models / "lora" / "strong" / "strong.safetensors", scale=1.0)
        adapted = model.generate(PROMPT, seed=7, **SMALL)[0]
        model.unload_lora_weights()
        again = model.generate(PROMPT, seed=7, **SMALL)[0]
    assert again.data == base.data
    assert adapted.image.tobytes() != base.image.tobytes()


def test_an_adapter_outside_the_models_folder_may_be_used(model: TextToImage, models: Path, tmp_path: Path) -> None:  # noqa: F811
    file = tmp_path / "mine.safetensors"
    file.write_bytes((models / "lora" / "strong" / "strong.safetensors").read_bytes())
    with model:
        model.load_lora_weights(file)
        (image,) = model.generate(PROMPT, seed=7, **SMALL)
    assert [(lora["path"], lora["weight"]) for lora in image.parameters["loras"]] == [("mine.safetensors", 0.8)]


def test_images_of_several_prompts_come_in_order_each_as_soon_as_it_is_there(model: TextToImage) -> None:
    prompts, shares, seen = ["a red star", "a blue ring"], list[float](), list[str]()
    with model:
        images = model.generate(
            prompts,
            seed=3,
            num=17,
            on_progress=shares.append,
            on_image=lambda image: seen.append(image.parameters["prompt"]),
            **SMALL,
        )
    assert [image.parameters["prompt"] for image in images] == [prompt for prompt in prompts for _ in range(17)] == seen
    assert [image.seed for image in images] == [*range(3, 20)] * 2
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_saved_images_have_names_of_their_own_and_their_parameters_inside(model: TextToImage, tmp_path: Path) -> None:
    with model:
        images = model.generate(["a red star", "a blue ring"], seed=3, **SMALL)
    paths = model.save_images(images, tmp_path / "images")
    assert len(set(paths)) == 2
    for path, image in zip(paths, images, strict=True):
        assert path.name.endswith(("-seed-3.png", "-seed-3-2.png"))
        assert read_parameters(path.read_bytes()).parameters["prompt"] == image.parameters["prompt"]


def test_what_is_otherwise_than_requested_is_a_warning(model: TextToImage) -> None:
    with model, pytest.warns(UserWarning, match="negative_prompt has no effect without guidance"):
        model.generate(PROMPT, seed=3, cfg=0, negative_prompt="blurry", **SMALL)
    with model, warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model.generate(PROMPT, seed=3, **SMALL)


def test_the_memory_is_free_after_the_block(model: TextToImage) -> None:
    with model:
        model.generate(PROMPT, seed=3, **SMALL)
        assert len(list(model.engine.pool.loaded)) == 1
    assert not list(model.engine.pool.loaded)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"steps": 0}, "steps"),
        ({"width": 70}, "width"),
        ({"num": 0}, "num: 0"),
        ({"scheduler": "eular"}, "scheduler"),
        ({"variant": "ful"}, "full"),
    ],
)
def test_a_wrong_field_is_refused_before_anything_is_generated(
    model: TextToImage, fields: dict[str, object], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        model.generate(PROMPT, **fields)  # type: ignore[arg-type]
    assert not list(model.engine.pool.loaded)


def test_a_wrong_setting_or_base_is_refused(models: Path) -> None:  # noqa: F811
    with pytest.raises(BadInput, match="precision"):
        TextToImage(str(models / "mini-sdxl"), precision="fp8")
    with pytest.raises(BadInput, match="gone"):
        TextToImage(str(models / "gone"))
