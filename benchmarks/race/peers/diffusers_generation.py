"""Diffusers' own pipeline: ``python diffusers_generation.py WAY MODEL ADAPTER``; see ``benchmarks.race.own_generation``."""

import sys
import time
from pathlib import Path

import torch
from diffusers import StableDiffusionXLPipeline

PROMPTS = [f"a photo of a {colour} star" for colour in ("red", "blue", "green", "white", "black", "pink", "cyan", "orange")]
STEPS, GUIDANCE = 25, 5.0


def main(way: str, model: str, adapter: Path) -> None:
    """Answer counts of images, or of batches of eight, with seconds until the input ends."""
    pipeline = StableDiffusionXLPipeline.from_pretrained(model, torch_dtype=torch.float32, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    if way == "adapter":
        pipeline.load_lora_weights(adapter.parent, weight_name=adapter.name)

    def work(number: int) -> None:
        prompts = PROMPTS if way == "eight" else [PROMPTS[number % len(PROMPTS)]]
        generators = [torch.Generator().manual_seed(number * len(prompts) + index) for index in range(len(prompts))]
        pipeline(prompts, num_inference_steps=STEPS, guidance_scale=GUIDANCE, generator=generators)

    work(0)
    print("ready", flush=True)
    number = 1
    for line in sys.stdin:
        started = time.perf_counter()
        for _ in range(int(line)):
            work(number)
            number += 1
        print(time.perf_counter() - started, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
