"""``zthumb vram``: what generating takes of memory, before anything is downloaded."""

import pytest

from zthumb.cli import main


def test_components_and_ways_of_a_published_base(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["vram", "flux1-dev", "--budget", "16GB"]) == 0

    output = capsys.readouterr().out
    assert "FLUX.1-dev, 1024 x 1024 pixels, 1 at once, bf16" in output
    rows = {line.split()[0]: line.split()[1:] for line in output.splitlines() if line}
    assert rows["transformer"][0] == "22,700"
    assert "within 16.0 GiB: one component at a time on the device, the denoiser's weights in 8 bits" in output


def test_the_best_known_base_of_a_family_at_a_size(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["vram", "--family", "sd15", "--width", "768", "--height", "512", "--precision", "fp32", "--device", "cpu"]) == 0

    assert "stable-diffusion-v1-5, 768 x 512 pixels, 1 at once, fp32" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name either a base or a family"),
        (["flux1-dev", "--family", "flux"], "name either a base or a family"),
        (["--family", "fluks"], "flux"),
        (["flux1-dev", "--width", "1000"], "1000 x 1024: width and height of flux are multiples of 16"),
        (["flux1-dev", "--budget", "1GB"], "nothing fits into 1.0 GiB"),
        (["flux1-dev", "--budget", "plenty"], "'plenty' is not an amount of memory"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["vram", *arguments]) == 2

    assert message in capsys.readouterr().err
