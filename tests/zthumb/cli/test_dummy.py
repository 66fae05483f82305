"""Bases of full size with random weights: their exact sizes, an image of one, a server of one."""

from pathlib import Path

import pytest

from foundation.errors import BadInput
from tests.conftest import ROOT
from tests.zthumb.server.conftest import pixels, settings, started
from zthumb.cli import main
from zthumb.families.base import BASES
from zthumb.server.app import create_app


def test_the_exact_size_of_a_base_is_known_before_it_is_downloaded(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dummy", "flux1-dev"]) == 0

    table = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()[1:]}
    assert table["transformer"] == ["11,901,408,320", "44.34", "22.17", "11.09", "5.72"]
    assert set(table) == {"text_encoder", "text_encoder_2", "transformer", "vae", "all"}


def test_an_unknown_base_is_answered_with_those_that_are_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dummy", "owner/nothing"]) == 2

    assert "its configuration is not known before it is downloaded; that of" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--steps", "2"], "--steps: is of the image that --generate makes"),
        (["--generate", "--width", "1000"], "1000 x 1024: width and height of flux are multiples of 16"),
    ],
)
def test_what_would_be_ignored_is_refused(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dummy", "flux1-dev", *arguments]) == 2

    assert message in capsys.readouterr().err


def test_weights_that_would_not_be_loaded_are_refused(tmp_path: Path) -> None:
    server = settings(tmp_path, model=str(BASES / "small-sd"), dummy=True, gguf_model="x.gguf")

    with pytest.raises(BadInput, match="DUMMY: all weights are random, so that ZTHUMB_GGUF_MODEL would mean nothing"):
        create_app(server)


@pytest.mark.slow
def test_an_image_of_random_weights_tells_time_and_memory(capsys: pytest.CaptureFixture[str]) -> None:
    base = str(ROOT / "models" / "mini-sdxl")

    assert main(["dummy", base, "--generate", "--precision", "fp32", "--steps", "2"]) == 0

    output = capsys.readouterr().out
    assert "an image of 128 x 128 in 2 steps on cpu, fp32" in output
    assert "peak of memory" in output


@pytest.mark.slow
def test_a_server_of_random_weights_generates_without_any_file_of_weights(tmp_path: Path) -> None:
    # Given a folder with nothing but a base's configuration
    base, folder = ROOT / "models" / "mini-sdxl", tmp_path / "models" / "dummy"
    for file in [base / "model_index.json", *base.glob("*/*config.json")]:
        target = folder / file.relative_to(base)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())

    with started(settings(tmp_path / "models", model=str(folder), dummy=True)) as client:
        response = client.post("/generate", json={"prompt": "a red star", "steps": 1, "seed": 0})

    assert pixels(response).shape == (128, 128, 3)
