"""Diffusers' own pipeline: ``python diffusers_generation.py WAY MODEL ADAPTER WORK``; see ``benchmarks.race.own_generation``.

WORK is JSON: the prompts, and the steps and guidance scale of an image.
"""

import json
import sys
import time
from pathlib import Path

import torch
from diffusers import StableDiffusionXLPipeline


def main(way: str, model: str, adapter: Path, prompts: list[str], steps: int, guidance: float) -> None:
    """Answer counts of images, or of batches of eight, with seconds until the input ends."""
    pipeline = StableDiffusionXLPipeline.from_pretrained(model, torch_dtype=torch.float32, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    if way == "adapter":
        pipeline.load_lora_weights(adapter.parent, weight_name=adapter.name)

    def work(number: int) -> None:
        chosen = prompts if way == "eight" else [prompts[number % len(prompts)]]
        generators = [torch.Generator().manual_seed(number * len(chosen) + index) for index in range(len(chosen))]
        pipeline(chosen, num_inference_steps=steps, guidance_scale=guidance, generator=generators)

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
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), **json.loads(sys.argv[4]))
