"""Optional: distil a small text encoder from the large one of a base, for cards that the large one is too much for."""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from foundation.arguments import positive
from foundation.errors import DONE, BadInput, command
from foundation.files import atomic_directory
from foundation.hashing import hash_file, hash_files, hash_value
from foundation.seeds import derive

_CHECKPOINT = "training.pt"
_HELD_OUT = 256
"""Captions that are not learned from, of which the error is reported; a tenth where there are few."""


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Distil one text encoder; exit code 0 done, 2 bad input."""
    arguments = _parser().parse_args(argv)
    from foundation.device import choose_device
    from training.distillation.distiller import Distiller, Schedule

    device = choose_device(arguments.device)
    base, family, pipeline = _load(arguments.base, device)  # 1. the base, of which only the large encoder is used
    learned, held_out = _split(_read(arguments.captions), arguments.seed)  # 2. the captions
    teacher = _placed(getattr(pipeline, family.distillable_component), device, arguments.blocks_to_swap)
    student = _student(arguments, teacher.config)  # 3. the small encoder

    def tokenize(captions: Sequence[str]) -> Any:
        return family.distillable_tokens(pipeline, captions)

    distiller = Distiller(student, teacher, tokenize, device, arguments.seed)
    schedule = Schedule(arguments.steps, arguments.batch, arguments.rate)
    key = _key(arguments, base / family.distillable_component)
    checkpoint = arguments.output / _CHECKPOINT
    arguments.output.mkdir(parents=True, exist_ok=True)
    _train(distiller, learned, schedule, checkpoint, key)  # 4. training
    error = distiller.error(held_out, arguments.batch)
    _save(student, arguments.output)  # 5. the encoder, and how good it is
    size = sum(parameter.numel() for parameter in student.parameters()) / sum(each.numel() for each in teacher.parameters())
    print(
        f"{arguments.output}: {size:.1%} of the large encoder's weights, {error:.1%} off on {len(held_out)} captions of its own"
    )
    print(f"use it: zthumb generate PROMPT --model {arguments.base} --distill {arguments.output / 'encoder'}")
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.distill_text_encoder",
        description="Train a small text encoder to give what the large one of BASE gives (arXiv 2503.19897). It takes its place "
        "with `zthumb generate --distill` and ZTHUMB_TEXT_ENCODER. Resumes if it is interrupted.",
    )
    parser.add_argument("base", metavar="BASE", help="the base, by any reference; of the family flux")
    parser.add_argument("--captions", metavar="FILE", type=Path, required=True, help="prompts as people write them, one a line")
    parser.add_argument("--output", metavar="FOLDER", type=Path, required=True, help="where the encoder and checkpoints go")
    parser.add_argument("--student", metavar="FOLDER", type=Path, help="a T5 encoder to begin with, such as t5-v1_1-base")
    parser.add_argument("--layers", type=positive, default=12, help="of a new one (default: 12)")
    parser.add_argument("--width", type=positive, default=768, help="of a new one (default: 768)")
    parser.add_argument("--steps", type=positive, default=20_000, help="(default: 20000)")
    parser.add_argument("--batch", type=positive, default=32, help="captions at once (default: 32)")
    parser.add_argument("--rate", type=float, default=1e-4, help="the highest learning rate (default: 1e-4)")
    parser.add_argument(
        "--blocks-to-swap", type=int, default=0, help="of the large encoder, on the device only while they compute"
    )
    parser.add_argument("--device", default="auto", help="cuda, cpu, … (default: the fastest)")
    parser.add_argument("--seed", type=int, default=0)
    return parser


def _load(reference: str, device: Any) -> tuple[Path, Any, Any]:
    import torch

    from zthumb import families
    from zthumb.sources.bases import find_base
    from zthumb.sources.local import family_of

    base = find_base(reference)
    family = families.get(family_of(base))
    if family.distillable_component is None:
        possible = " and ".join(name for name in families.names() if families.get(name).distillable_component)
        raise BadInput(f"{reference}: a base of the family {family.name} has no large text encoder to distil; {possible} has.")
    denoiser = family.denoiser_component
    with torch.device("meta"):  # Its configuration says how long prompts are, and its weights are not needed.
        replaced = {denoiser: family.build_component(denoiser, family.configuration(base, denoiser))}
    replaced |= dict.fromkeys(family.image_components)
    precision = torch.bfloat16 if device.type == "cuda" else torch.float32
    return base, family, family.load(base, precision, torch.device("cpu"), replaced)


def _placed(teacher: Any, device: Any, count: int) -> Any:
    from zthumb.memory.block_swap import blocks_of, swap_blocks
    from zthumb.memory.waiting_weights import move

    if not 0 <= count <= (available := len(blocks_of(teacher))):
        raise BadInput(f"--blocks-to-swap {count}: the large encoder has {available} blocks.")
    if count:
        swap_blocks(teacher, count, device)
    move(teacher.eval(), device)
    return teacher


def _student(arguments: argparse.Namespace, teacher: Any) -> Any:
    import torch

    from training.distillation import student

    torch.manual_seed(derive(arguments.seed, "student"))
    if arguments.student is not None:
        return student.from_pretrained(arguments.student, teacher)
    return student.new(teacher, arguments.layers, arguments.width)


def _read(file: Path) -> list[str]:
    try:
        captions = list(dict.fromkeys(line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{file}: cannot be read as text: {error}") from None
    if len(captions) < 2:
        raise BadInput(f"{file}: has {len(captions)} captions, one a line: thousands are needed, as people write them.")
    return captions


def _split(captions: Sequence[str], seed: int) -> tuple[list[str], list[str]]:
    shuffled = random.Random(derive(seed, "held out")).sample(captions, len(captions))
    count = max(1, min(_HELD_OUT, len(captions) // 10))
    return shuffled[count:], shuffled[:count]


def _key(arguments: argparse.Namespace, teacher: Path) -> str:
    """What a checkpoint must agree in to be resumed."""
    names = ("layers", "width", "steps", "batch", "rate", "seed")
    settings = {name: str(getattr(arguments, name)) for name in names}
    began = hash_files(arguments.student, "*") if arguments.student else {}
    return hash_value(
        {**settings, "captions": hash_file(arguments.captions), "teacher": hash_files(teacher, "*"), "student": began}
    )


def _train(distiller: Any, captions: Sequence[str], schedule: Any, checkpoint: Path, key: str) -> None:
    from tqdm import tqdm

    with tqdm(total=schedule.steps, desc="distil") as bar:

        def show(step: int, loss: float) -> None:
            bar.set_postfix(error=f"{loss**0.5:.1%}", refresh=False)
            bar.update(step - bar.n)

        distiller.train(captions, schedule, checkpoint, key, show)


def _save(student: Any, output: Path) -> None:
    with atomic_directory(output / "encoder") as folder:
        student.save_pretrained(folder)


if __name__ == "__main__":
    sys.exit(main())
