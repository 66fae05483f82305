"""``python -m miniature.trials``: draw the data set of a trial concept, and tabulate the evaluations of all trial concepts."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from foundation.errors import DONE, FAILED, BadInput, command
from foundation.files import write_json, write_text
from foundation.offline import stay_offline
from foundation.verdict import NAME as VERDICT

DATASETS, REPORTS, OUT = Path("outputs/trials"), Path("outputs/lora_eval"), Path("outputs/bench/concepts")
FIGURES, PAGE = Path("docs/concepts"), Path("docs/concepts.md")
RUN = "trial-{name}"


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand and return its exit code: 0 done, 1 a requirement was missed, 2 bad input."""
    arguments = _parser().parse_args(argv)
    stay_offline()
    code: int = arguments.run_command(arguments)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m miniature.trials", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    names = commands.add_parser("names", help="print the names of the trial concepts, one per line")
    names.set_defaults(run_command=_names)
    draw = commands.add_parser("draw", help="draw the images, references and prompts of a concept")
    draw.add_argument("--name", required=True)
    draw.add_argument("--out", type=Path, help="folder to write the data set to (default: outputs/trials/NAME)")
    draw.set_defaults(run_command=_draw)
    table = commands.add_parser("table", help="measure the evaluations of all trained concepts  → outputs/bench/concepts")
    table.set_defaults(run_command=_table)
    page = commands.add_parser("page", help="write docs/concepts.md from the figures in docs/concepts")
    page.set_defaults(run_command=_page)
    return parser


def _names(_: argparse.Namespace) -> int:
    from miniature.trials.concepts import CONCEPTS

    print("\n".join(CONCEPTS))
    return DONE


def _draw(arguments: argparse.Namespace) -> int:
    from miniature.trials.concepts import CONCEPTS
    from miniature.trials.dataset import write_dataset

    if arguments.name not in CONCEPTS:
        raise BadInput(f"--name {arguments.name}: not a trial concept. Choose one of: {', '.join(CONCEPTS)}.")
    folder = arguments.out or DATASETS / arguments.name
    write_dataset(arguments.name, folder)
    print(f"{folder}: images, references and prompts are written")
    return DONE


def _table(_: argparse.Namespace) -> int:
    from miniature.trials.concepts import CONCEPTS
    from miniature.trials.table import contact_sheet, format_rows, measure

    OUT.mkdir(parents=True, exist_ok=True)
    rows = []
    for name in CONCEPTS:
        report = REPORTS / RUN.format(name=name)
        if (report / VERDICT).exists():
            rows.append(measure(name, DATASETS / name, report))
            contact_sheet(report, rows[-1].scale).save(OUT / f"{name}.webp", quality=80)
    if not rows:
        raise BadInput(f"{REPORTS}: no trial concept has been evaluated. Run `make bench_concepts`.")
    write_json(OUT / "concepts.json", [asdict(row) for row in rows])
    print("\n".join(format_rows(rows)))
    return FAILED if any(row.missed for row in rows) else DONE


def _page(_: argparse.Namespace) -> int:
    from miniature.trials.table import render_page

    write_text(PAGE, render_page(FIGURES))
    print(PAGE)
    return DONE


if __name__ == "__main__":
    sys.exit(main())
