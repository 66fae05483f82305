"""The commands of the page of examples run, and write what they say."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evaluation.server import serve
from tests.conftest import ROOT

pytestmark = pytest.mark.slow
PAGE = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
COMMANDS = {
    Path(words[1]).stem: words[1:] for words in map(shlex.split, re.findall(r"^    \.venv/bin/python .*$", PAGE, re.MULTILINE))
}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        with serve("models/mini-sdxl", 1) as client:
            yield client.url


def _run(folder: Path, name: str, *options: str) -> "subprocess.CompletedProcess[str]":
    script, *arguments = COMMANDS[name]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for shared in ("models", "examples"):
        if not (folder / shared).exists():
            (folder / shared).symlink_to(ROOT / shared)
    command = [sys.executable, script, *arguments, *options]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_every_example_is_on_the_page_with_its_command() -> None:
    assert set(COMMANDS) == {path.stem for path in (ROOT / "examples").glob("*.py")}


def test_generate_saves_the_image_of_a_seed_and_says_which(server: str, tmp_path: Path) -> None:
    first = _run(tmp_path, "generate", "--server", server, "--seed", "3")
    image = np.asarray(Image.open(tmp_path / "star.png"))
    again = _run(tmp_path, "generate", "--server", server, "--seed", "3")

    assert (first.stdout, first.returncode) == ("star.png: seed 3\n", 0), first.stderr
    assert again.returncode == 0
    assert np.array_equal(image, np.asarray(Image.open(tmp_path / "star.png")))


def test_generate_passes_on_what_the_server_refuses(server: str, tmp_path: Path) -> None:
    result = _run(tmp_path, "generate", "--server", server, "--lora", "lora/missing.safetensors")

    assert result.returncode == 1
    assert result.stderr.startswith("error: ")
    assert "missing" in result.stderr
    assert not (tmp_path / "star.png").exists()


def test_compare_scales_shows_the_base_and_the_adapter_at_three_scales(server: str, tmp_path: Path) -> None:
    result = _run(tmp_path, "compare_scales", "--server", server)

    assert result.returncode == 0, result.stderr
    strip = np.asarray(Image.open(tmp_path / "scales.png").convert("RGB"), dtype=float)
    images = np.split(strip, 4, axis=1)
    distances = [float(np.abs(image - images[0]).mean()) for image in images]
    assert distances[0] == 0
    assert min(distances[1:]) > 1


def test_the_adapter_generates_in_diffusers_without_this_project(tmp_path: Path) -> None:
    result = _run(tmp_path, "adapter_in_diffusers", "--steps", "8")

    assert result.returncode == 0, result.stderr
    assert np.asarray(Image.open(tmp_path / "badge.png")).std() > 10
