"""How a backend is run changes its speed, not its images; over HTTP."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.zthumb.server.conftest import pixels, settings, started

pytestmark = pytest.mark.slow

STAR = {"prompt": "a photo of a red star on a blue background", "seed": 5, "steps": 4, "deterministic": True}
ADAPTED = {**STAR, "loras": [{"id": "strong", "weight": 1.0}]}


@pytest.mark.parametrize("options", [{"channels_last": True}, {"compile": True}], ids=str)
def test_the_images_are_the_usual_ones_with_adapters_too(models: Path, client: Any, options: dict[str, bool]) -> None:
    with started(settings(models, **options)) as other:
        for asked in (STAR, ADAPTED, STAR):
            usual, found = (pixels(each.post("/generate", json=asked)).astype(int) for each in (client, other))
            assert np.abs(usual - found).max() <= 3
    assert not np.array_equal(pixels(client.post("/generate", json=STAR)), pixels(client.post("/generate", json=ADAPTED)))
