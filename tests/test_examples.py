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

from evaluation.collection.local_server import serve
from tests.adapters import MINI_SDXL, random_adapter
from tests.conftest import MINIATURE, ROOT
from zthumb.adapters import layouts

pytestmark = pytest.mark.slow
PAGE = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
COMMANDS = {
    Path(words[1]).stem: words[1:] for words in map(shlex.split, re.findall(r"^    \.venv/bin/python .*$", PAGE, re.MULTILINE))
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the examples, the miniature base and an exported adapter of the name that the page has."""
    folder = tmp_path_factory.mktemp("checkout")
    adapter = folder / "models" / "lora" / "mini-demo"
    adapter.mkdir(parents=True)
    for shared in ("examples", "models/mini-sdxl"):
        (folder / shared).symlink_to(ROOT / shared)
    weights = random_adapter(MINIATURE)
    layouts.save_kohya(weights, adapter / "mini-demo.safetensors", *MINI_SDXL, {})
    layouts.save_diffusers(weights, adapter / "pytorch_lora_weights.safetensors", {})
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with serve("models/mini-sdxl", 1) as client:
            yield client.url


def _run(folder: Path, name: str, *options: str) -> "subprocess.CompletedProcess[str]":
    script, *arguments = COMMANDS[name]
    command = [sys.executable, script, *arguments, *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_every_example_is_on_the_page_with_its_command() -> None:
    assert set(COMMANDS) == {path.stem for path in (ROOT / "examples").glob("*.py")}


def test_generate_saves_the_image_of_a_seed_and_says_which(server: str, folder: Path) -> None:
    first = _run(folder, "generate", "--server", server, "--seed", "3")
    image = np.asarray(Image.open(folder / "star.png"))
    again = _run(folder, "generate", "--server", server, "--seed", "3")

    assert (first.stdout, first.returncode) == ("star.png: seed 3\n", 0), first.stderr
    assert again.returncode == 0
    assert np.array_equal(image, np.asarray(Image.open(folder / "star.png")))


def test_generate_passes_on_what_the_server_refuses(server: str, folder: Path) -> None:
    (folder / "star.png").unlink(missing_ok=True)

    result = _run(folder, "generate", "--server", server, "--lora", "lora/missing.safetensors")

    assert result.returncode == 1
    assert result.stderr.startswith("error: ")
    assert "missing" in result.stderr
    assert not (folder / "star.png").exists()


def test_compare_scales_shows_the_base_and_the_adapter_at_three_scales(server: str, folder: Path) -> None:
    result = _run(folder, "compare_scales", "--server", server)

    assert result.returncode == 0, result.stderr
    strip = np.asarray(Image.open(folder / "scales.png").convert("RGB"), dtype=float)
    images = np.split(strip, 4, axis=1)
    distances = [float(np.abs(image - images[0]).mean()) for image in images]
    assert distances[0] == 0
    assert min(distances[1:]) > 1


def test_images_are_generated_in_python_alone(folder: Path) -> None:
    result = _run(folder, "text_to_image")

    assert result.returncode == 0, result.stderr
    paths = [folder / line for line in result.stdout.splitlines()]
    assert [path.stem.partition("-seed-")[2] for path in paths] == ["7", "8"]
    assert all(np.asarray(Image.open(path)).std() > 10 for path in paths)


def test_the_adapter_generates_in_diffusers_without_this_project(folder: Path) -> None:
    result = _run(folder, "adapter_in_diffusers", "--steps", "8")

    assert result.returncode == 0, result.stderr
    assert np.asarray(Image.open(folder / "badge.png")).std() > 10
