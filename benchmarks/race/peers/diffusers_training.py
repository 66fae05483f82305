"""A training loop of diffusers and PEFT, after its advanced example for SDXL, with latents and embeddings encoded in advance.

``python diffusers_training.py FOLDER`` reads what to train on from FOLDER; see ``benchmarks.race.contest`` for what it answers.
"""

import json
import sys
import time
from pathlib import Path

import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from peft import LoraConfig
from safetensors.torch import load_file
from torch.nn import functional


class Loop:
    """The steps of the example's inner loop."""

    def __init__(self, folder: Path) -> None:
        plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
        self._examples = load_file(folder / "examples.safetensors")
        self._batch_size, self._max_norm = plan["batch_size"], plan["max_grad_norm"]
        self._scheduler = DDPMScheduler.from_pretrained(plan["base"], subfolder="scheduler", local_files_only=True)
        self._unet = UNet2DConditionModel.from_pretrained(
            plan["base"], subfolder="unet", torch_dtype=torch.float32, local_files_only=True
        )
        self._unet.requires_grad_(False)
        self._unet.add_adapter(
            LoraConfig(r=plan["rank"], lora_alpha=plan["alpha"], init_lora_weights="gaussian", target_modules=plan["modules"])
        )
        self._parameters = [parameter for parameter in self._unet.parameters() if parameter.requires_grad]
        self._optimizer = torch.optim.AdamW(self._parameters, lr=plan["lr"], weight_decay=plan["weight_decay"])
        self._unet.train()

    def step(self, number: int) -> None:
        """Make one step."""
        count = len(self._examples["latents"])
        chosen = [(number * self._batch_size + offset) % count for offset in range(self._batch_size)]
        latents = self._examples["latents"][chosen]
        noise = torch.randn_like(latents)
        timesteps = torch.randint(0, self._scheduler.config.num_train_timesteps, (len(chosen),))
        noisy = self._scheduler.add_noise(latents, noise, timesteps)
        added = {"text_embeds": self._examples["pooled_prompt_embeds"][chosen], "time_ids": self._examples["time_ids"][chosen]}
        embeds = self._examples["prompt_embeds"][chosen]
        predicted = self._unet(noisy, timesteps, embeds, added_cond_kwargs=added, return_dict=False)[0]
        loss = functional.mse_loss(predicted.float(), noise.float(), reduction="mean")
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._parameters, self._max_norm)
        self._optimizer.step()
        self._optimizer.zero_grad()


def main(folder: Path) -> None:
    """Answer counts of steps with seconds until the input ends."""
    loop = Loop(folder)
    loop.step(0)
    print("ready", flush=True)
    step = 1
    for line in sys.stdin:
        started = time.perf_counter()
        for _ in range(int(line)):
            loop.step(step)
            step += 1
        print(time.perf_counter() - started, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
