"""``python -m miniature.trials``: draw a trial concept's data set, and tabulate what the defaults made of those evaluated."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from foundation.errors import DONE, FAILED, BadInput, command
from foundation.files import write_json, write_text
from foundation.offline import stay_offline
from foundation.verdict import NAME as VERDICT

SETS, REPORTS, OUT = Path("outputs/trials"), Path("outputs/lora_eval"), Path("outputs/bench/concepts")
FIGURES, PAGE = Path("docs/concepts"), Path("docs/concepts.md")
RUN = "trial-{name}"


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Dispatch to a subcommand; exit code 0 done, 1 a bar was missed, 2 bad input."""
    arguments = _parser().parse_args(argv)
    stay_offline()
    code: int = arguments.run_command(arguments)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m miniature.trials", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    names = commands.add_parser("names", help="name the trial concepts, a line each")
    names.set_defaults(run_command=_names)
    draw = commands.add_parser("draw", help="draw a concept's images, references and prompts")
    draw.add_argument("--name", required=True)
    draw.add_argument("--out", type=Path, help="the data set's folder (default: outputs/trials/NAME)")
    draw.set_defaults(run_command=_draw)
    table = commands.add_parser("table", help="read the evaluations of all that were trained  → outputs/bench/concepts")
    table.set_defaults(run_command=_table)
    page = commands.add_parser("page", help="the figures in docs/concepts as docs/concepts.md")
    page.set_defaults(run_command=_page)
    return parser


def _names(_: argparse.Namespace) -> int:
    from miniature.trials.concepts import CONCEPTS

    print("\n".join(CONCEPTS))
    return DONE


def _draw(arguments: argparse.Namespace) -> int:
    from miniature.trials.concepts import CONCEPTS
    from miniature.trials.sets import write

    if arguments.name not in CONCEPTS:
        raise BadInput(f"--name {arguments.name}: not a trial concept. There are: {', '.join(CONCEPTS)}.")
    folder = arguments.out or SETS / arguments.name
    write(arguments.name, folder)
    print(f"{folder}: images, references and prompts are drawn")
    return DONE


def _table(_: argparse.Namespace) -> int:
    from miniature.trials.concepts import CONCEPTS
    from miniature.trials.table import contact_sheet, lines, measure

    OUT.mkdir(parents=True, exist_ok=True)
    rows = []
    for name in CONCEPTS:
        report = REPORTS / RUN.format(name=name)
        if (report / VERDICT).exists():
            rows.append(measure(name, SETS / name, report))
            contact_sheet(report, rows[-1].scale).save(OUT / f"{name}.webp", quality=80)
    if not rows:
        raise BadInput(f"{REPORTS}: no trial concept was evaluated. Run `make bench_concepts`.")
    write_json(OUT / "concepts.json", [asdict(row) for row in rows])
    print("\n".join(lines(rows)))
    return FAILED if any(row.missed for row in rows) else DONE


def _page(_: argparse.Namespace) -> int:
    from miniature.trials.table import page

    write_text(PAGE, page(FIGURES))
    print(PAGE)
    return DONE


if __name__ == "__main__":
    sys.exit(main())
