"""A server with a memory budget: the same images, components that come and go, and requests that do not fit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from foundation.errors import BadInput
from tests.zthumb.server.conftest import pixels, settings, started
from zthumb.server.app import create_app

REQUEST = {"prompt": "a photo of a red star on a blue background", "seed": 7, "steps": 3}
NAMES = ("text_encoder", "text_encoder_2", "unet", "vae")
ADAPTER = {**REQUEST, "loras": [{"id": "strong", "weight": 0.7}]}


def test_components_that_take_turns_generate_the_same_images(models: Path) -> None:
    with started(settings(models)) as client:
        expected = [pixels(client.post("/generate", json=fields)) for fields in (REQUEST, ADAPTER, REQUEST)]
    with started(settings(models, memory_budget="52MB")) as client:
        responses = [client.post("/generate", json=fields) for fields in (REQUEST, ADAPTER, REQUEST)]
        pool = client.app.state.service.pool  # type: ignore[attr-defined]
        (backend,) = pool.loaded

    for response, image in zip(responses, expected, strict=True):
        assert np.array_equal(pixels(response), image)
    assert "one component at a time on the device" in responses[0].json()["meta"]["variant_reason"]
    # Adapters stay, weights do not.
    assert {"lora_" in name for name, parameter in _parameters(backend) if not parameter.is_meta} == {True}


def test_only_the_components_that_work_have_weights(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with started(settings(models, memory_budget="52MB")) as client:
        (backend,) = client.app.state.service.pool.loaded  # type: ignore[attr-defined]
        pipeline, present = backend.pipeline, dict[str, set[str]]()

        def noting(phase: str, function: Any) -> Any:
            def wrapped(*arguments: Any, **options: Any) -> Any:
                present[phase] = {name for name in NAMES if not next(getattr(pipeline, name).parameters()).is_meta}
                return function(*arguments, **options)

            return wrapped

        for name, method in (("text_encoder", "forward"), ("unet", "forward"), ("vae", "decode")):
            monkeypatch.setattr(getattr(pipeline, name), method, noting(name, getattr(getattr(pipeline, name), method)))
        pixels(client.post("/generate", json=REQUEST))

    assert present == {"text_encoder": {"text_encoder", "text_encoder_2"}, "unet": {"unet"}, "vae": {"vae"}}


def test_an_image_that_does_not_fit_is_refused_and_the_next_one_is_generated(models: Path) -> None:
    with started(settings(models, memory_budget="60MB")) as client:
        refused = client.post("/generate", json={**REQUEST, "width": 1024, "height": 1024})
        generated = client.post("/generate", json=REQUEST)

    assert refused.status_code == 422
    assert "an image of 1024 x 1024 takes" in refused.json()["detail"]
    assert "raise MEMORY_BUDGET" in refused.json()["detail"]
    assert generated.status_code == 200


def test_batches_are_as_large_as_the_budget_allows(models: Path) -> None:
    request = {**REQUEST, "width": 256, "height": 256, "batch": 4, "isolated": True}
    with started(settings(models, memory_budget="80MB")) as client:
        small = client.post("/generate", json=request).json()["meta"]["batch_size"]
    with started(settings(models, memory_budget="1GB")) as client:
        large = client.post("/generate", json=request).json()["meta"]["batch_size"]

    assert small < large == 4


def test_a_budget_that_nothing_fits_into_is_said_at_once(models: Path) -> None:
    with pytest.raises(BadInput, match="nothing fits into 10 MiB"):
        create_app(settings(models, memory_budget="10MB"))


def _parameters(backend: Any) -> list[tuple[str, torch.nn.Parameter]]:
    models = [getattr(backend.pipeline, name) for name in NAMES]
    return [named for model in models for named in model.named_parameters()]
