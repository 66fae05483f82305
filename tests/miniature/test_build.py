"""The build from a seed to the committed models, with a handful of images and steps."""

from dataclasses import fields
from pathlib import Path

import pytest
import torch
from diffusers import FluxPipeline, QwenImagePipeline, StableDiffusionPipeline, StableDiffusionXLPipeline, ZImagePipeline

from foundation.hashing import hash_files
from miniature import qwen_tokenizer, t5_tokenizer
from miniature.build import Plan, build, fit_flux, fit_qwen_image
from miniature.loop import Schedule, Task, train

pytestmark = pytest.mark.slow

SHORT = Schedule(steps=2, batch=2, rate=1e-3, save_every=1)
# Every schedule there is: one that were left out would be trained in full.
TINY = Plan(images=24, **{field.name: SHORT for field in fields(Plan) if isinstance(field.default, Schedule)})


def test_a_build_writes_pipelines_that_load_and_a_resumed_build_writes_the_same_weights(tmp_path: Path) -> None:
    build(tmp_path / "models", tmp_path / "work", plan=TINY)
    pipeline = StableDiffusionXLPipeline.from_pretrained(tmp_path / "models" / "mini-sdxl", local_files_only=True)
    image = pipeline("a red star", num_inference_steps=2, generator=torch.Generator().manual_seed(0)).images[0]
    assert image.size == (128, 128)
    assert pipeline.unet.config.addition_embed_type == "text_time"
    size = sum(path.stat().st_size for path in (tmp_path / "models" / "mini-sdxl").rglob("*") if path.is_file())
    assert size < 30_000_000

    turbo = StableDiffusionXLPipeline.from_pretrained(tmp_path / "models" / "mini-sdxl-turbo", local_files_only=True)
    assert turbo("a red star", num_inference_steps=1, guidance_scale=0.0).images[0].size == (128, 128)
    assert turbo.scheduler.config.timestep_spacing == "trailing"
    assert (tmp_path / "models" / "mini-sdxl-turbo" / "vae").is_symlink()

    sd15 = StableDiffusionPipeline.from_pretrained(tmp_path / "models" / "mini-sd15", local_files_only=True)
    assert sd15("a red star", num_inference_steps=2).images[0].size == (128, 128)
    assert (tmp_path / "models" / "mini-sd15" / "vae").is_symlink()

    z_image = ZImagePipeline.from_pretrained(tmp_path / "models" / "mini-z-image", local_files_only=True)
    options = {"height": 128, "width": 128, "num_inference_steps": 2, "max_sequence_length": qwen_tokenizer.MAX_LENGTH}
    assert z_image(["a red star"], **options).images[0].size == (128, 128)
    assert (tmp_path / "models" / "mini-z-image" / "vae" / "diffusion_pytorch_model.safetensors").is_symlink()

    hashes = hash_files(tmp_path / "models")
    # A stage whose checkpoint is lost is trained again from the other stages' checkpoints; its weights must be the same.
    for name in ("denoiser.pt", "finish.pt", "distillation.pt", "sd15.pt"):
        next((tmp_path / "work").rglob(name)).unlink()
    build(tmp_path / "models", tmp_path / "work", plan=TINY)
    assert hash_files(tmp_path / "models") == hashes


def test_flux_is_trained_on_the_latents_of_the_base_and_shares_its_autoencoder(tmp_path: Path, miniature: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    (models / "mini-sdxl").symlink_to(miniature)

    fit_flux(models, tmp_path / "work", plan=TINY)

    pipeline = FluxPipeline.from_pretrained(models / "mini-flux", local_files_only=True)
    options = {"height": 128, "width": 128, "num_inference_steps": 2, "max_sequence_length": t5_tokenizer.MAX_LENGTH}
    assert pipeline("a red star", **options).images[0].size == (128, 128)
    assert (models / "mini-flux" / "vae" / "diffusion_pytorch_model.safetensors").is_symlink()
    assert pipeline.vae.config.shift_factor != 0
    hashes = hash_files(models / "mini-flux")
    for name in ("flux.pt", "flux-guidance.pt"):
        next((tmp_path / "work").rglob(name)).unlink()
    fit_flux(models, tmp_path / "work", plan=TINY)
    assert hash_files(models / "mini-flux") == hashes


def test_qwen_image_is_trained_with_captions_in_two_languages_and_an_autoencoder_of_its_own(
    tmp_path: Path, miniature: Path
) -> None:
    models = tmp_path / "models"
    models.mkdir()
    (models / "mini-sdxl").symlink_to(miniature)

    fit_qwen_image(models, tmp_path / "work", plan=TINY)

    pipeline = QwenImagePipeline.from_pretrained(models / "mini-qwen-image", local_files_only=True)
    for prompt in ("a red star", "蓝色背景上的红色星星"):
        assert pipeline(prompt, height=128, width=128, num_inference_steps=2).images[0].size == (128, 128)
    assert sum(path.stat().st_size for path in (models / "mini-qwen-image").rglob("*") if path.is_file()) < 20_000_000
    # Convolutions of the autoencoder look at single images alone.
    assert not pipeline.vae.decoder.conv_in.weight[:, :, :-1].any()


class _SquaredError(torch.nn.Module):
    """The squared error of a linear model that should return the sum of its inputs."""

    def __init__(self, model: torch.nn.Linear) -> None:
        super().__init__()
        self.model = model

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        loss: torch.Tensor = (self.model(values) - values.sum(dim=1, keepdim=True)).pow(2).mean()
        return loss


def test_a_killed_training_resumes_to_the_same_weights(tmp_path: Path) -> None:
    def train_weights(checkpoint: Path, stop_at: int | None) -> torch.Tensor:
        torch.manual_seed(0)
        model = torch.nn.Linear(3, 1)

        def batch_at(step: int) -> tuple[torch.Tensor]:
            if step == stop_at:
                raise InterruptedError
            return (torch.randn(4, 3, generator=torch.Generator().manual_seed(step)),)

        schedule = Schedule(steps=9, batch=4, rate=1e-2, save_every=4)
        task = Task(batch_at, _SquaredError(model))
        return train("x", model, task, schedule, checkpoint, torch.device("cpu")).weight.detach()

    uninterrupted = train_weights(tmp_path / "uninterrupted.pt", None)
    with pytest.raises(InterruptedError):
        train_weights(tmp_path / "killed.pt", 6)
    assert torch.load(tmp_path / "killed.pt")["step"] == 4
    assert torch.equal(train_weights(tmp_path / "killed.pt", None), uninterrupted)
