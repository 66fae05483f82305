"""An adapter that is merged into the base while it is trained on, and in nothing that comes out."""

from pathlib import Path

import pytest
import torch

from foundation.errors import BadInput
from tests.adapters import random_adapter
from tests.training.conftest import prepared_base, quick_arguments
from training import train_lora
from zthumb.adapters import reader
from zthumb.adapters.adapter import Adapter, Layer
from zthumb.adapters.layouts import save_diffusers

pytestmark = pytest.mark.slow


def _written(folder: Path) -> Path:
    file = folder / "undo.safetensors"
    save_diffusers(random_adapter(Path("models/mini-sdxl"), strength=0.05), file)
    return file


def test_the_base_predicts_as_with_the_adapter(prepared: Path, tmp_path: Path) -> None:
    file = _written(tmp_path)

    _, plain, examples, _ = prepared_base(prepared, "previews.prompts=[]", "prior.weight=0")
    _, merged, _, _ = prepared_base(prepared, "previews.prompts=[]", "prior.weight=0", f"training_adapter={file}")

    batch = examples.take([0])
    noisy, times = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0)), torch.tensor([500])
    with torch.no_grad():
        changed = merged.predict(noisy, times, batch.conditioning) - plain.predict(noisy, times, batch.conditioning)
    assert float(changed.abs().max()) > 0.01
    # And its layers are the base's own: nothing of it is trained
    assert [name for name, _ in merged.adapted.named_modules() if "merged" in name] == []


def test_what_is_trained_is_all_that_comes_out_and_another_adapter_is_another_run(
    prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = _written(tmp_path)
    arguments = quick_arguments(prepared, "a", "previews.prompts=[]", "prior.weight=0", f"training_adapter={file}", "steps=2")

    assert train_lora.main(arguments) == 0

    checkpoint = Path("outputs/lora/a/checkpoints/step-000002/adapter.safetensors")
    trained = checkpoint.read_bytes()
    # Twice the change: the run begins anew
    save_diffusers(random_adapter(Path("models/mini-sdxl"), strength=0.1), file)
    assert train_lora.main(arguments) == 0
    assert checkpoint.read_bytes() != trained
    assert reader.hash_of(file) in Path("outputs/lora/a/manifest.json").read_text(encoding="utf-8")


def test_an_adapter_that_changes_what_captions_are_encoded_by_is_refused(prepared: Path, tmp_path: Path) -> None:
    adapter = random_adapter(Path("models/mini-sdxl"))
    layer = Layer(torch.ones(1, 128), torch.ones(128, 1), 1.0)
    text = {"text_encoder.text_model.encoder.layers.0.self_attn.q_proj": layer}
    save_diffusers(Adapter({**adapter.layers, **text}), tmp_path / "both.safetensors")

    with pytest.raises(BadInput, match="changes more than the unet"):
        prepared_base(prepared, "previews.prompts=[]", "prior.weight=0", f"training_adapter={tmp_path / 'both.safetensors'}")
