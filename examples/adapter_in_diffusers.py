"""Generate with an exported adapter in diffusers' own pipeline: nothing of this project is needed to use what it trains."""

import argparse
from pathlib import Path

import torch
from diffusers import DiffusionPipeline

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", help="the base that the adapter was trained on, in the diffusers layout")
    parser.add_argument("adapter", type=Path, help="the folder models/lora/RUN")
    parser.add_argument("prompt")
    parser.add_argument("file", type=Path, help="an image file to write")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()

    pipeline = DiffusionPipeline.from_pretrained(arguments.base, local_files_only=True)
    pipeline.load_lora_weights(arguments.adapter, weight_name="pytorch_lora_weights.safetensors", adapter_name="mine")
    pipeline.set_adapters("mine", arguments.scale)
    generator = torch.Generator().manual_seed(arguments.seed)
    image = pipeline(arguments.prompt, num_inference_steps=arguments.steps, generator=generator).images[0]
    image.save(arguments.file)
    print(arguments.file)
