"""Latents look like the image that they become, without the autoencoder."""

from pathlib import Path

import numpy as np
import torch

from tests.conftest import MINIATURE
from training.encoding.encoded_examples import pixels
from zthumb import families
from zthumb.generation.latent_previewer import LatentPreviewer

SDXL = families.get("sdxl")


def test_a_sketch_has_the_colours_of_the_image(tmp_path: Path) -> None:
    from PIL import Image

    pipeline = SDXL.load(MINIATURE, torch.float32, torch.device("cpu"))
    # Given an image that is red on the left and blue on the right
    halves = np.zeros((128, 128, 3), np.uint8)
    halves[:, :64], halves[:, 64:] = (230, 60, 60), (70, 120, 220)
    Image.fromarray(halves).save(tmp_path / "x.png")
    latents = SDXL.encode_images(pipeline, pixels(tmp_path / "x.png")[None])

    preview = np.asarray(LatentPreviewer.of(pipeline, SDXL, torch.device("cpu")).preview(latents)).astype(int)

    assert preview.shape == (16, 16, 3)
    left, right = preview[2:14, 2:6].mean(axis=(0, 1)), preview[2:14, 10:14].mean(axis=(0, 1))
    assert left[0] > left[2] + 40
    assert right[2] > right[0] + 40
