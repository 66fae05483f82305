"""``zthumb generate``: images from a terminal, and images repeated from their files."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.zthumb.server.conftest import models  # noqa: F401
from zthumb.cli import main
from zthumb.server.storage.image_encoder import PARAMETERS_CHUNK

PROMPT = "a photo of a red star on a blue background"
SMALL = ["--steps", "2", "--width", "64", "--height", "64"]


@pytest.fixture(autouse=True)
def here(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: F811
    """A folder with the models in it, where the commands run."""
    (tmp_path / "models").symlink_to(models)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _generate(*arguments: str) -> int:
    return main(["generate", *arguments])


def _pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_an_image_is_written_with_its_time_and_seed_in_its_name(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _generate(PROMPT, "--seed", "7", "--num", "2", *SMALL) == 0

    paths = sorted((here / "outputs" / "images").glob("*.png"))
    assert [path.stem.partition("-seed-")[2] for path in paths] == ["7", "8"]
    output = capsys.readouterr()
    assert [line.partition(":")[0] for line in output.out.splitlines()] == [str(path.relative_to(here)) for path in paths]
    assert "2.0/2" in output.err


def test_an_image_is_repeated_to_the_byte_from_its_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--lora", "models/lora/strong:0.5", "--negative", "blurry", "--scheduler", "ddim", "--seed", "7", "--cfg", "4"]
    assert _generate(PROMPT, *options, *SMALL, "--output", "first.png") == 0
    assert _generate("--from-image", "first.png", "--output", "second.png") == 0

    assert (here / "first.png").read_bytes() == (here / "second.png").read_bytes()
    assert "the same pixels as first.png" in capsys.readouterr().out


def test_options_change_a_repeated_image(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _generate(PROMPT, "--seed", "7", *SMALL, "--output", "first.png") == 0
    assert _generate("--from-image", "first.png", "--seed", "8", "--output", "second.png") == 0

    assert "other than first.png in seed" in capsys.readouterr().out
    assert not np.array_equal(_pixels(here / "first.png"), _pixels(here / "second.png"))


def test_an_image_of_a_base_that_is_not_here_is_not_repeated_with_another(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _generate(PROMPT, "--seed", "7", *SMALL, "--output", "first.png") == 0
    with Image.open(here / "first.png") as image:
        parameters = {**json.loads(image.info[PARAMETERS_CHUNK]), "base_sha256": "0" * 64}
        _save_with_text(image, here / "other.png", PARAMETERS_CHUNK, json.dumps(parameters))

    assert _generate("--from-image", "other.png", "--output", "second.png") == 2
    assert "no base in models is the one it was generated with" in capsys.readouterr().err
    assert not (here / "second.png").exists()


def test_an_image_of_another_program_gives_its_settings_and_says_so(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = f"{PROMPT}\nSteps: 2, Sampler: Euler, CFG scale: 4, Seed: 5, Size: 64x64, Model: dreamshaper"
    _save_with_text(Image.new("RGB", (64, 64)), here / "theirs.png", "parameters", text)

    assert _generate("--from-image", "theirs.png", "--output", "ours.png") == 0
    assert "theirs.png: a1111 generated it with dreamshaper" in capsys.readouterr().err
    with Image.open(here / "ours.png") as image:
        parameters = json.loads(image.info[PARAMETERS_CHUNK])
    assert (parameters["prompt"], parameters["seed"], parameters["steps"]) == (PROMPT, 5, 2)


def test_prompts_are_read_from_the_input(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("a red star\n\na blue ring\n"))
    assert _generate("-", "--seed", "3", *SMALL, "--output", "all", "--format", "webp") == 0

    assert len(list((here / "all").glob("*-seed-3*.webp"))) == 2


def test_an_image_of_the_few_step_variant(here: Path) -> None:
    (here / "models" / "mini-sdxl-turbo").symlink_to(Path(__file__).parents[3] / "models" / "mini-sdxl-turbo")
    assert _generate(PROMPT, "--variant", "turbo", "--seed", "7", "--output", "few.png") == 0
    assert _generate("--from-image", "few.png", "--output", "again.png") == 0

    assert (here / "few.png").read_bytes() == (here / "again.png").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the prompt is missing"),
        ([PROMPT, "--num", "2", "--output", "one.png"], "--output one.png: is the file of one image"),
        ([PROMPT, "--format", "webp", "--output", "one.png"], "--output one.png: is not the name of a webp file"),
        ([PROMPT, "--lora", "gone.safetensors"], "gone.safetensors"),
        ([PROMPT, "--model", "models/gone"], "models/gone"),
        ([PROMPT, "--steps", "151"], "steps"),
        ([PROMPT, "--preset", "gone"], "gone"),
        (["--from-image", "gone.png"], "--from-image gone.png: no such file"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    here: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _generate(*arguments) == 2

    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert message in errors[0]
    assert {path.name for path in here.iterdir()} <= {"models"}


def test_an_image_without_adapters_is_repeated_without_that_of_the_settings(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _generate(PROMPT, "--seed", "7", *SMALL, "--output", "first.png") == 0
    monkeypatch.setenv("Z_LORA_PATH", "models/lora/strong/strong.safetensors")
    assert _generate("--from-image", "first.png", "--output", "second.png") == 0

    assert (here / "first.png").read_bytes() == (here / "second.png").read_bytes()


def test_a_wrong_setting_is_one_line_without_secrets(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("HF_TOKEN", "not a token")
    assert _generate(PROMPT) == 2
    assert main(["doctor"]) == 2

    errors = capsys.readouterr().err
    assert "settings:" in errors
    assert "not a token" not in errors


def test_memory_is_predicted_without_loading_anything(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _generate(PROMPT, "--estimate-vram") == 0
    assert _generate(PROMPT, "--estimate-vram", "--memory", "52MB") == 0

    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("full: everything on the device;")
    assert second.startswith("full: one component at a time on the device;")
    assert not (here / "outputs").exists()


def _save_with_text(image: Image.Image, path: Path, chunk: str, text: str) -> None:
    from PIL.PngImagePlugin import PngInfo

    chunks = PngInfo()
    chunks.add_text(chunk, text)
    image.save(path, pnginfo=chunks)
