"""Render a report's pages again from its results and images, without measuring anything."""

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

from evaluation.report import PAGE, write_reports
from evaluation.results import OUT, RESULTS, SAMPLES, read_results
from foundation.errors import DONE, command
from foundation.files import atomic_file
from foundation.verdict import NAME as VERDICT


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Render one report again; exit code 0 done, 2 bad input."""
    parser = argparse.ArgumentParser(prog="python -m evaluation render", description=__doc__)
    parser.add_argument("report", metavar="REPORT", help="a run's name, or the folder of its report")
    parser.add_argument("--to", type=Path, help="the folder to write to (default: the report's own)")
    arguments = parser.parse_args(argv)
    folder = Path(arguments.report) if Path(arguments.report).is_dir() else OUT / arguments.report
    target = arguments.to or folder
    write_reports(read_results(folder), folder, target)
    if target != folder:  # with the files that the pages are rendered from, but without the images
        for name in (RESULTS, SAMPLES, VERDICT):
            with atomic_file(target / name) as path:
                shutil.copyfile(folder / name, path)
    print(f"render: {target / PAGE}")
    return DONE
