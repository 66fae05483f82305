"""Generate images in Python, with no server: ten lines from a prompt to a file."""

import argparse

from zthumb import TextToImage

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="a base: a folder, a file, or any other reference")
    parser.add_argument("prompt")
    parser.add_argument("folder", help="where to write the images")
    parser.add_argument("--lora", help="an adapter: a file, a folder or an id")
    arguments = parser.parse_args()

    with TextToImage(arguments.model) as model:
        if arguments.lora:
            model.load_lora_weights(arguments.lora, scale=0.8)
        images = model.generate(arguments.prompt, seed=7, num=2)
        for path in model.save_images(images, arguments.folder):
            print(path)
