"""Ask a running server for one image and save it, with its generation parameters inside."""

import argparse
import base64
from pathlib import Path

import requests

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("prompt")
    parser.add_argument("file", type=Path, help="a PNG file to write")
    parser.add_argument("--server", default="http://127.0.0.1:8000")
    parser.add_argument("--seed", type=int, help="the same seed gives the same image (default: the server draws one)")
    parser.add_argument("--lora", help="an adapter, as GET /models names it")
    parser.add_argument("--scale", type=float, default=1.0, help="the adapter's strength (default: 1)")
    arguments = parser.parse_args()

    # 1. Only fields that are set: the server has a default for every other.
    fields = {"prompt": arguments.prompt, "output_format": "png"}
    if arguments.seed is not None:
        fields["seed"] = arguments.seed
    if arguments.lora:
        fields |= {"lora_path": arguments.lora, "lora_scale": arguments.scale}

    # 2. The adapter applies to this request alone.
    response = requests.post(f"{arguments.server}/generate", json=fields, timeout=600)
    if not response.ok:
        parser.exit(1, f"error: {response.json()['detail']}\n")

    # 3. The answer has the image and everything that makes it again.
    image = response.json()["images"][0]
    arguments.file.write_bytes(base64.b64decode(image["b64_json"]))
    print(f"{arguments.file}: seed {image['seed']}")
