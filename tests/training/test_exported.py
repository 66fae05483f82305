"""Every kind of adapter, read back from both exported files, predicts what the trained model predicts."""

from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from tests.training.conftest import prepared_base
from training.steps.train_step import TrainStep
from zthumb.adapters import apply, fitting_base, textual_inversion
from zthumb.adapters.adapter import Adapter
from zthumb.adapters.extended_embedding import with_learned_tokens
from zthumb.adapters.layouts import save_diffusers, save_kohya
from zthumb.adapters.textual_inversion import LearnedEmbedding
from zthumb.diffusion.conditioning import Conditioning
from zthumb.families.base import ModelFamily
from zthumb.families.shared.clip_text import TOKEN_IDS
from zthumb.sources.bases import find_base

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "settings",
    [
        (),
        ("adapter.rank=6", "adapter.alpha=3", "adapter.use_rslora=true"),
        ("adapter.targets=attention+feed-forward+convolution",),
        ("adapter.use_dora=true", "adapter.targets=attention"),
        ("adapter.initialization=pissa",),
        ("adapter.text_encoders=true",),
        ("adapter.tokens=3", "optimizer.token_lr=0.1"),
        ("adapter.tokens=2", "adapter.text_encoders=true"),
        ("quantize=int8",),
        ("base=models/mini-sd15",),
        ("base=models/mini-sd15", "adapter.tokens=2", "adapter.text_encoders=true"),
    ],
    ids=str,
)
def test_the_exported_files_predict_what_the_trained_model_predicts(
    prepared: Path, tmp_path: Path, settings: tuple[str, ...]
) -> None:
    sets = ("prior.weight=0", "optimizer.warmup_steps=0", "optimizer.lr=1e-2", *settings)
    recipe, base, trained, _ = prepared_base(prepared, *sets)
    train_step = TrainStep(recipe, base, Accelerator(cpu=True), trained, None)
    for step in range(3):
        train_step.step(step)
    conditioning = trained.take([0]).conditioning
    with torch.no_grad():
        noisy, timesteps = torch.stack(trained.latents[:1]), torch.tensor([600])
        expected = base.predict(noisy, timesteps, conditioning)
        with base.adapter_disabled():
            untrained = base.predict(noisy, timesteps, conditioning)
    weights = train_step.adapter()
    vectors = {part: weights[f"{part}.word"] for part in base.family.adapted_components if f"{part}.word" in weights}
    adapter = Adapter.from_peft(weights, recipe.adapter.scale)
    if vectors:
        textual_inversion.save(LearnedEmbedding("zbadge", vectors), tmp_path / "x_emb.safetensors", base.family)
    files = [tmp_path / "x.safetensors", tmp_path / "pytorch_lora_weights.safetensors"]
    folder, family = find_base(recipe.base), base.family
    save_kohya(adapter, files[0], family, family.configuration(folder, family.denoiser_component), metadata={})
    save_diffusers(adapter, files[1])

    # The files are applied to the unquantized base, even if the base was quantized in training.
    effect = float((expected - untrained).norm())
    for file in files:
        predicted = _predict(folder, family, file, noisy, timesteps, conditioning, trained.names[0], prepared)
        assert float((predicted - expected).norm()) < (0.5 if "quantize=int8" in settings else 0.01) * effect, file


def _predict(
    folder: Path,
    family: ModelFamily,
    file: Path,
    noisy: torch.Tensor,
    timesteps: torch.Tensor,
    conditioning: Conditioning,
    name: str,
    prepared: Path,
) -> torch.Tensor:
    pipeline = family.load(folder, torch.float32, torch.device("cpu"))
    parts = {part: getattr(pipeline, part) for part in family.adapted_components}
    adapter = fitting_base.recognize(file, folder).adapter
    apply.inject(parts, adapter, "trained")
    apply.set_weights(apply.adapted_modules(parts), {"trained": 1.0})
    caption = (prepared / name).with_suffix(".txt").read_text().strip()
    with with_learned_tokens(parts, adapter.embeddings) as learned_tokens:
        encoded = family.encode_prompts(pipeline, [caption], learned_tokens)
    sizes = {name: conditioning.stack(name) for name in conditioning.tensors if name not in (*encoded.tensors, TOKEN_IDS)}
    with torch.no_grad():
        return family.predict(family.denoiser(pipeline), noisy, timesteps, encoded.merge(**sizes))
