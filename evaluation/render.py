"""A report's pages written again from its results and pictures: nothing is measured anew."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from evaluation.compare import OUT
from evaluation.report import PAGE, write
from evaluation.results import read_results
from foundation.errors import DONE, command


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Render one report again; exit code 0 done, 2 bad input."""
    parser = argparse.ArgumentParser(prog="python -m evaluation render", description=__doc__)
    parser.add_argument("report", help="a run's name, or the folder of its report")
    parser.add_argument("--to", type=Path, help="the folder to write to (default: the report's own)")
    arguments = parser.parse_args(argv)
    folder = Path(arguments.report) if Path(arguments.report).is_dir() else OUT / arguments.report
    write(read_results(folder), folder, arguments.to or folder)
    print(f"render: {(arguments.to or folder) / PAGE}")
    return DONE
