"""Backend options change the speed and not the images, over HTTP."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.zthumb.server.conftest import pixels, settings, started

pytestmark = pytest.mark.slow

STAR = {"prompt": "a photo of a red star on a blue background", "seed": 5, "steps": 4, "deterministic": True}
ADAPTED = {**STAR, "loras": [{"id": "strong", "weight": 1.0}]}


@pytest.mark.parametrize("options", [{"channels_last": True}, {"compile": True}], ids=str)
def test_options_do_not_change_images_with_or_without_adapters(models: Path, client: Any, options: dict[str, bool]) -> None:
    with started(settings(models, **options)) as client_with_options:
        for request in (STAR, ADAPTED, STAR):
            expected = pixels(client.post("/generate", json=request)).astype(int)
            image = pixels(client_with_options.post("/generate", json=request)).astype(int)
            assert np.abs(expected - image).max() <= 3
    assert not np.array_equal(pixels(client.post("/generate", json=STAR)), pixels(client.post("/generate", json=ADAPTED)))
