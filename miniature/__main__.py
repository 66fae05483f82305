"""Build the miniature models, grade them, draw a concept data set, check the report of a concept."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from foundation.arguments import run_name
from foundation.errors import DONE, FAILED, BadInput, command
from foundation.offline import stay_offline

MODELS, WORK, GRADES = Path("models"), Path("outputs/mini_base"), Path("outputs/grade")
REPORTS = Path("outputs/lora_eval")


@dataclass(frozen=True)
class _Stage:
    """A stage of the build that can be run alone: the ``function`` of ``miniature.build`` that writes ``model``."""

    model: str
    function: str
    help: str


_STAGES: Mapping[str, _Stage] = MappingProxyType(
    {
        "distil": _Stage("mini-sdxl-turbo", "distil", "distil models/mini-sdxl-turbo from models/mini-sdxl"),
        "fit-clip": _Stage("mini-clip", "fit_extractor", "fit models/mini-clip to models/mini-sdxl"),
        "fit-sd15": _Stage("mini-sd15", "fit_sd15", "train models/mini-sd15 from models/mini-sdxl"),
        "fit-flux": _Stage("mini-flux", "fit_flux", "train models/mini-flux on the latents of models/mini-sdxl"),
        "fit-z-image": _Stage("mini-z-image", "fit_z_image", "train models/mini-z-image on the latents of models/mini-sdxl"),
        "fit-qwen-image": _Stage(
            "mini-qwen-image", "fit_qwen_image", "train models/mini-qwen-image on the latents of models/mini-sdxl"
        ),
    }
)


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand and return its exit code: 0 done, 1 a grade or check was missed, 2 bad input."""
    arguments = _parser().parse_args(argv)
    stay_offline()
    code: int = arguments.run_command(arguments)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m miniature", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    build = commands.add_parser("build", help="train mini-sdxl and all that is built on it from a seed; resumable")
    build.add_argument("--models", type=Path, default=MODELS, help="folder to write the models to (default: models)")
    build.add_argument(
        "--work", type=Path, default=WORK, help="folder of checkpoints to resume from (default: outputs/mini_base)"
    )
    build.add_argument("--seed", type=int, default=0)
    build.add_argument(
        "--share", type=float, default=1.0, help="fraction of the full number of images and steps, for a trial run (default: 1)"
    )
    build.set_defaults(run_command=_build)
    for name, stage in _STAGES.items():
        parser_of_stage = commands.add_parser(name, help=f"{stage.help}; resumable")
        parser_of_stage.add_argument("--models", type=Path, default=MODELS, help="folder of both models (default: models)")
        parser_of_stage.add_argument(
            "--work", type=Path, default=WORK, help="folder of checkpoints to resume from (default: outputs/mini_base)"
        )
        parser_of_stage.add_argument("--seed", type=int, default=0)
        parser_of_stage.set_defaults(run_command=_run_stage, stage=stage)
    grade = commands.add_parser("grade", help="grade the bases by geometry over 200 prompts, and mini-clip by retrieval")
    grade.add_argument("model", nargs="*", help="names of the models to grade (default: all)")
    grade.add_argument("--models", type=Path, default=MODELS, help="folder of the models (default: models)")
    grade.add_argument(
        "--out", type=Path, default=GRADES, help="folder for the figures, one file per model (default: outputs/grade)"
    )
    grade.add_argument("--seed", type=int, default=0)
    grade.set_defaults(run_command=_grade)
    card = commands.add_parser("card", help="write the models' cards and catalogue entries from their grades")
    card.add_argument("--models", type=Path, default=MODELS)
    card.add_argument("--grades", type=Path, default=GRADES)
    card.add_argument("--work", type=Path, default=WORK, help="work folder of the build (default: outputs/mini_base)")
    card.set_defaults(run_command=_card)
    concept = commands.add_parser("concept", help="draw a small data set of a shape that the base does not know")
    concept.add_argument("--shape", required=True, help="letter-z or arrow")
    concept.add_argument("--trigger", required=True)
    concept.add_argument("--out", type=Path, required=True, help="folder to write the data set to")
    concept.set_defaults(run_command=_concept)
    check = commands.add_parser("check-demo", help="check the images of a report by geometry")
    check.add_argument("--run", type=run_name, required=True, help="name of the report below outputs/lora_eval")
    check.add_argument("--shape", default="letter-z", help="shape of the concept (default: letter-z)")
    check.set_defaults(run_command=_check_demo)
    return parser


def _build(arguments: argparse.Namespace) -> int:
    from miniature.build import Plan, build

    plan = Plan() if arguments.share == 1 else Plan().scaled(arguments.share)
    build(arguments.models, arguments.work, arguments.seed, plan)
    print(f"{arguments.models}: mini-sdxl, -clip, -sdxl-turbo, -sd15 and -z-image are written; `make grade_mini` grades them")
    return DONE


def _grade(arguments: argparse.Namespace) -> int:
    from foundation.files import read_json, write_json
    from miniature import grade, image_tower
    from miniature.card import CLIP, GRADED_WEIGHTS, hash_weights
    from zthumb.sources.bases import find_base

    all_reached, known = True, [*grade.TARGETS, CLIP]
    names = arguments.model or known
    if unknown := [name for name in names if name not in known]:
        raise BadInput(f"{', '.join(unknown)}: only {', '.join(known)} are graded.")
    for name in (name for name in names if name != CLIP):
        model, target = find_base(str(arguments.models / name)), grade.TARGETS[name]
        figures = grade.grade_model(model, target, arguments.seed, arguments.out / f"{name}.json")
        print(f"{name}, {target.steps} steps, guidance {target.guidance_scale:g}\n{grade.format_table(figures, target)}")
        all_reached &= not figures.missed(target)
    if CLIP in names:
        retrieval = image_tower.grade_model(arguments.models / CLIP, arguments.seed, arguments.out / f"{CLIP}.json")
        print(
            f"{CLIP}: {retrieval.among_100:.1%} of the captions rank first among 100, "
            f"{retrieval.swapped_colours:.1%} rank above the same caption with colours swapped"
        )
    weights, hashes = arguments.out / GRADED_WEIGHTS, hash_weights(arguments.models)
    before = read_json(weights) if weights.exists() else {}
    write_json(weights, {**before, **{name: hashes[name] for name in names}})
    print(f"{arguments.out}: figures and contact sheets are written")
    return DONE if all_reached else FAILED


def _run_stage(arguments: argparse.Namespace) -> int:
    from miniature import build
    from miniature.card import CLIP
    from miniature.grade import TARGETS

    stage: _Stage = arguments.stage
    getattr(build, stage.function)(arguments.models, arguments.work, arguments.seed)
    grades = "; `make grade_mini` grades it" if stage.model in (*TARGETS, CLIP) else ""
    print(f"{arguments.models / stage.model} is written{grades}")
    return DONE


def _card(arguments: argparse.Namespace) -> int:
    from miniature.card import write_cards

    write_cards(arguments.models, arguments.grades, arguments.work)
    return DONE


def _concept(arguments: argparse.Namespace) -> int:
    from miniature.concept import write

    write(arguments.shape, arguments.trigger, arguments.out)
    print(f"{arguments.out}: raw, reference and concept.yaml are written")
    return DONE


def _check_demo(arguments: argparse.Namespace) -> int:
    from miniature.demo_check import check_report, format_table

    result = check_report(REPORTS / arguments.run, arguments.shape)
    print(format_table(result))
    return FAILED if result.missed() else DONE


if __name__ == "__main__":
    sys.exit(main())
