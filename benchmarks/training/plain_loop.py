"""A plain training loop, in the style of the diffusers example for SDXL: nothing is encoded in advance."""

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from torch.nn import functional

from training.data.dataset import Dataset
from training.encoding.encoded_examples import pixels
from training.recipe import Recipe
from zthumb.families.base import ModelFamily


class PlainLoop:
    """Each step encodes its images and captions, adds noise, and makes a step of AdamW."""

    def __init__(self, recipe: Recipe, family: ModelFamily, pipeline: Any, dataset: Dataset, folder: Path) -> None:
        self._recipe, self._pipeline = recipe, pipeline
        self._entries = dataset.of("train")
        self._images = torch.stack([pixels(folder / entry.file) for entry in self._entries])
        torch.manual_seed(recipe.seed)
        targets = family.lora_modules(family.denoiser_component, pipeline.unet, recipe.adapter.targets)
        pipeline.unet.add_adapter(LoraConfig(r=recipe.adapter.rank, lora_alpha=recipe.adapter.alpha, target_modules=targets))
        self._parameters = [parameter for parameter in pipeline.unet.parameters() if parameter.requires_grad]
        self._optimizer = torch.optim.AdamW(self._parameters, lr=recipe.optimizer.lr)

    def step(self, number: int) -> None:
        """Make one step."""
        pipeline, count = self._pipeline, len(self._entries)
        indices = [(number * self._recipe.batch_size + offset) % count for offset in range(self._recipe.batch_size)]
        with torch.no_grad():
            latents = pipeline.vae.encode(self._images[indices]).latent_dist.sample() * pipeline.vae.config.scaling_factor
            captions = [self._entries[index].caption for index in indices]
            prompt_embeds, _, pooled, _ = pipeline.encode_prompt(captions, do_classifier_free_guidance=False)
        noise = torch.randn_like(latents)
        timesteps = torch.randint(pipeline.scheduler.config.num_train_timesteps, (len(indices),))
        alphas_cumprod = pipeline.scheduler.alphas_cumprod[timesteps].reshape(-1, 1, 1, 1)
        noisy = alphas_cumprod.sqrt() * latents + (1 - alphas_cumprod).sqrt() * noise
        size = self._recipe.resolution
        conditioning = {"text_embeds": pooled, "time_ids": torch.tensor([[size, size, 0, 0, size, size]] * len(indices))}
        predicted = pipeline.unet(noisy, timesteps, prompt_embeds, added_cond_kwargs=conditioning).sample
        loss = functional.mse_loss(predicted.float(), noise.float())
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._parameters, 1.0)
        self._optimizer.step()
        self._optimizer.zero_grad()
