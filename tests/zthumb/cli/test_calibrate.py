"""``zthumb calibrate``, and what is generated with its file."""

from pathlib import Path

import numpy as np
import pytest
import torch

from foundation.errors import BadInput
from tests.adapters import random_adapter
from tests.conftest import ROOT
from zthumb import families
from zthumb.adapters import apply
from zthumb.adapters.adapter import Adapter
from zthumb.backends.base import Options, WeightsLocation
from zthumb.backends.full import Backend
from zthumb.cli import main
from zthumb.generation.parameters import GenerationParams
from zthumb.memory.predictions import Predictions

pytestmark = pytest.mark.slow

BASE = ROOT / "models" / "mini-z-image"
PARAMS = GenerationParams("a photo of a red star on a blue background", None, 128, 128, 7, 4, 3.0)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("calibrated") / "z.safetensors"
    assert main(["calibrate", str(BASE), "--steps", "4", "--output", str(output)]) == 0
    return output


def _backend(**options: object) -> Backend:
    return Backend(WeightsLocation(BASE, BASE), Options(device="cpu", **options))  # type: ignore[arg-type]


def test_predictions_for_other_prompts_are_closer_to_the_base_than_without_it(file: Path) -> None:
    # Given predictions of the base for a prompt that was not calibrated with
    whole, predictions = _backend(), Predictions()
    with predictions.record(whole.pipeline.transformer, every=1):
        whole.generate([PARAMS], lambda *_: None, {})

    plain = predictions.error(_backend(quantization="int8dq").pipeline.transformer)
    balanced = predictions.error(_backend(quantization="int8dq", salience=file).pipeline.transformer)

    assert balanced < 0.95 * plain


def test_an_adapter_adds_what_it_adds_to_the_base(file: Path) -> None:
    adapter, layer = random_adapter(BASE, targets="attention"), "layers.0.attention.to_q"
    inputs = torch.randn(1, 5, 192)
    changes = []
    for options in ({}, {"quantization": "int8dq", "salience": file}):
        denoiser = _backend(**options).pipeline.transformer
        inputs = inputs[..., : denoiser.get_submodule(layer).in_features]
        before = denoiser.get_submodule(layer)(inputs)
        apply.inject({"transformer": denoiser}, adapter, "a")
        apply.set_weights(apply.adapted_modules({"transformer": denoiser}), {"a": 1.0})
        changes.append(denoiser.get_submodule(layer)(inputs) - before)

    torch.testing.assert_close(changes[0], changes[1], rtol=0, atol=1e-5)


def test_a_dora_on_balanced_weights_is_refused(file: Path) -> None:
    denoiser = _backend(quantization="int8dq", salience=file).pipeline.transformer
    adapter: Adapter = random_adapter(BASE, use_dora=True)

    with pytest.raises(BadInput, match="leave ZTHUMB_SALIENCE out"):
        apply.inject({families.get("z_image").denoiser_component: denoiser}, adapter, "a")


def test_a_dora_is_refused_beside_an_adapter_too(file: Path) -> None:
    denoiser = _backend(quantization="int8dq", salience=file).pipeline.transformer
    apply.inject({"transformer": denoiser}, random_adapter(BASE), "first")

    with pytest.raises(BadInput, match="leave ZTHUMB_SALIENCE out"):
        apply.inject({"transformer": denoiser}, random_adapter(BASE, use_dora=True), "second")


def test_the_image_is_nearly_the_same(file: Path) -> None:
    whole, balanced = (
        np.asarray(_backend(**options).generate([PARAMS], lambda *_: None, {})[0], dtype=np.float32)
        for options in ({}, {"quantization": "int8dq", "salience": file})
    )

    assert 0 < np.abs(whole - balanced).mean() < 3


def test_a_file_without_quantization_is_refused(file: Path) -> None:
    with pytest.raises(BadInput, match="is calibrated for int8dq, not for none"):
        _backend(salience=file)


def test_bad_prompts_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.txt").write_text("\n")

    assert main(["calibrate", str(BASE), "--prompts", str(tmp_path / "empty.txt")]) == 2
    assert "has no prompts; there must be one a line" in capsys.readouterr().err
