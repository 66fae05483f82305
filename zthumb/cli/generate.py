"""Generate images from the command line, with what is set for the server and no server."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundation.arguments import positive
from foundation.errors import DONE, BadInput
from zthumb.cli import from_image

if TYPE_CHECKING:
    from zthumb.text_to_image import OutputImage, TextToImage

_FOLDER = Path("outputs/images")
_SETTINGS = ("model", "text_encoder", "device", "precision", "quantization", "salience", "memory_budget", "dummy")
_FIELDS = (
    *("negative_prompt", "steps", "cfg", "true_cfg_scale", "seed", "width", "height", "scheduler", "variant", "preset"),
    *("prompt_parser", "output_format", "guidance_schedule", "embedded_guidance_schedule", "step_cache"),
)
_STDIN = "-"
_FORMATS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}
_BAR = "{desc}: {percentage:3.0f}%|{bar}| {n:.1f}/{total} [{elapsed}<{remaining}]"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``zthumb generate``."""
    _add_image(parser)
    _add_model(parser)
    _add_output(parser)


def _add_image(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prompt", metavar="PROMPT", nargs="?", help="what to generate; - reads one prompt a line from the input")
    parser.add_argument("--negative", dest="negative_prompt", metavar="TEXT", help="what guidance leads away from")
    parser.add_argument("--steps", type=positive, help="denoising steps (default: the base's own)")
    parser.add_argument("--cfg", type=float, help="guidance scale (default: the base's own)")
    parser.add_argument(
        "--true-cfg", dest="true_cfg_scale", type=float, help="classifier-free guidance of FLUX.1 dev and its like"
    )
    parser.add_argument(
        "--guidance-schedule",
        metavar="SCHEDULE",
        help="how guidance changes with the steps: linear, cosine, low-high-low, interval:0.2-0.9 (default: constant)",
    )
    parser.add_argument(
        "--embedded-guidance-schedule", metavar="SCHEDULE", help="the same for the scale that FLUX.1 dev and its like are told"
    )
    parser.add_argument(
        "--step-cache",
        type=positive,
        metavar="N",
        help="compute one of N predictions: faster, a little off (default: 1)",
    )
    parser.add_argument("--seed", type=int, help="of the first image; the others count up (default: drawn)")
    parser.add_argument("--width", type=positive, help="in pixels (default: the base's own)")
    parser.add_argument("--height", type=positive, help="in pixels (default: the base's own)")
    parser.add_argument("--num", type=positive, default=1, help="images of each prompt (default: 1)")
    parser.add_argument(
        "--lora",
        dest="loras",
        metavar="LORA[:SCALE]",
        action="append",
        default=[],
        help="an adapter: a file, a folder, an id, a reference to a download; several are applied together",
    )
    parser.add_argument("--scheduler", help="such as euler or dpmpp_2m_karras (default: the base's own)")
    parser.add_argument("--prompt-parser", help="syntax of the prompts: plain, compel or lpw")


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", help="the base, by any reference (MODEL, default models/mini-sdxl)")
    parser.add_argument(
        "--distill",
        dest="text_encoder",
        metavar="ENCODER",
        help="a small text encoder that was distilled from the base's large one (ZTHUMB_TEXT_ENCODER)",
    )
    parser.add_argument("--preset", help="a preset, whose values the other options override")
    parser.add_argument("--variant", help="full, turbo or gguf (default: the best one that fits into memory)")
    parser.add_argument("--device", help="cuda, xpu, mps, cpu, with an index as in cuda:1 (default: the fastest)")
    parser.add_argument("--precision", help="fp32, bf16 or fp16 (default: bf16 on a GPU, else fp32)")
    parser.add_argument("--quantization", help="of the denoiser: int8wo, fp8wo, int8dq, fp8dq or nf4 (default: none)")
    parser.add_argument("--salience", metavar="FILE", help="of `zthumb calibrate`, for that quantization (ZTHUMB_SALIENCE)")
    parser.add_argument(
        "--memory", dest="memory_budget", metavar="BUDGET", help="keep within 12GB, or auto (MEMORY_BUDGET; default: no budget)"
    )
    parser.add_argument(
        "--estimate-vram", action="store_true", help="print how it would be generated and its peak of memory, and load nothing"
    )
    parser.add_argument(
        "--dummy", action="store_true", default=None, help="random weights of the base's shapes, nothing downloaded"
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--from-image", metavar="FILE", type=Path, help="repeat an image from what its file says")
    parser.add_argument("--format", dest="output_format", help="png, jpeg or webp (default: png)")
    parser.add_argument(
        "--output", metavar="PATH", type=Path, default=_FOLDER, help=f"a folder, or the file of one image (default: {_FOLDER})"
    )


def run(arguments: argparse.Namespace) -> int:
    """Generate and save images; exit code 0 done, 1 failed, 2 bad input."""
    from zthumb.sources.progress import bars
    from zthumb.text_to_image import TextToImage

    original = from_image.read(arguments.from_image) if arguments.from_image else None  # 1. what to generate
    if original:
        original.fill(arguments, _FIELDS)
        print("".join(f"note: {note}\n" for note in original.notes()), end="", file=sys.stderr)
    prompts, loras = _prompts(arguments), [_split_scale(text) for text in arguments.loras]
    settings = {name: getattr(arguments, name) for name in _SETTINGS} | (original.settings if original else {})
    with bars() as on_download, _notes(), TextToImage(on_download=on_download, **settings) as model:  # 2. the base
        if original and original.is_ours:
            model.unload_lora_weights()
        for lora, scale in loras:
            model.load_lora_weights(lora, scale)
        if arguments.estimate_vram:
            count = len(prompts) * arguments.num
            print(model.predicted_memory(prompts[0], count, **{name: getattr(arguments, name) for name in _FIELDS}))
            return DONE
        for image in _generate(model, prompts, arguments):  # 3. the images, each written as soon as it is there
            if original and original.is_ours:
                print(original.difference(image))
    return DONE


def _prompts(arguments: argparse.Namespace) -> list[str]:
    if arguments.prompt is None:
        raise BadInput("generate: the prompt is missing: give it in quotes, or - to read prompts from the input, one a line.")
    if arguments.prompt != _STDIN:
        return [arguments.prompt]
    prompts = [line.strip() for line in sys.stdin if line.strip()]
    if not prompts:
        raise BadInput("generate: the input has no prompts; there must be one a line.")
    return prompts


def _split_scale(text: str) -> tuple[str, float | None]:
    """Split ``LORA:SCALE``; a colon that no number follows is part of the reference."""
    reference, _, scale = text.rpartition(":")
    try:
        return (reference, float(scale)) if reference else (text, None)
    except ValueError:
        return text, None


def _saved(image: OutputImage) -> str:
    steps = image.parameters["steps"]
    return f", guided at {steps - image.unguided_steps} of {steps} steps" if image.unguided_steps else ""


def _format(arguments: argparse.Namespace) -> dict[str, str]:
    """The format that the name of the output says, if it is a file; ``BadInput`` for another one or too many images."""
    output, given = arguments.output, arguments.output_format
    named = _FORMATS.get(output.suffix.lower()) if not output.is_dir() else None
    if named and given and named != given:
        raise BadInput(f"--output {output}: is not the name of a {given} file. Leave --format out, or name another file.")
    return {"output_format": named} if named else {}


@contextmanager
def _notes() -> Iterator[None]:
    """Print warnings as lines of the command."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        print(f"note: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show
        yield


def _generate(model: TextToImage, prompts: list[str], arguments: argparse.Namespace) -> list[OutputImage]:
    from tqdm import tqdm

    file_format = _format(arguments)
    fields = {name: getattr(arguments, name) for name in _FIELDS} | file_format
    is_file, count = bool(file_format), len(prompts) * arguments.num
    if is_file and count > 1:
        raise BadInput(f"--output {arguments.output}: is the file of one image, and there are more. Name a folder.")
    with tqdm(total=count, desc="generate", bar_format=_BAR) as bar:

        def on_progress(share: float) -> None:
            bar.update(share * count - bar.n)

        def on_image(image: OutputImage) -> None:
            paths = [arguments.output] if is_file else model.save_images([image], arguments.output)
            if is_file:
                image.save(arguments.output)
            with bar.external_write_mode():
                print(f"{paths[0]}: seed {image.seed}{_saved(image)}", flush=True)

        return model.generate(prompts, num=arguments.num, on_progress=on_progress, on_image=on_image, **fields)
