"""Generate one prompt and seed at several scales of an adapter, and save the images side by side."""

import argparse
import base64
import io
from pathlib import Path

import requests
from PIL import Image

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lora", help="an adapter, as GET /models names it")
    parser.add_argument("prompt")
    parser.add_argument("file", type=Path, help="an image file to write")
    parser.add_argument("--server", default="http://127.0.0.1:8000")
    parser.add_argument("--scales", type=float, nargs="+", default=[0.0, 0.4, 0.8, 1.0], help="default: 0 0.4 0.8 1")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()

    # 1. The same request, but for the scale. At 0 the image is the base's own, to the bit.
    images = []
    for scale in arguments.scales:
        fields = {"prompt": arguments.prompt, "seed": arguments.seed, "lora_path": arguments.lora, "lora_scale": scale}
        response = requests.post(f"{arguments.server}/generate", json={**fields, "output_format": "png"}, timeout=600)
        if not response.ok:
            parser.exit(1, f"error: {response.json()['detail']}\n")
        images.append(Image.open(io.BytesIO(base64.b64decode(response.json()["images"][0]["b64_json"]))))

    # 2. Side by side, in the order that was given.
    width, height = images[0].size
    strip = Image.new("RGB", (len(images) * width, height))
    for index, image in enumerate(images):
        strip.paste(image, (index * width, 0))
    strip.save(arguments.file)
    print(f"{arguments.file}: scales {' '.join(f'{scale:g}' for scale in arguments.scales)}")
