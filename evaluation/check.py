"""Whether everything an evaluation needs is here, before anything is trained for it."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from evaluation.extractors import identify
from evaluation.protocol import read_protocol
from foundation.errors import DONE, command


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Look at a prompts file and the extractors it asks for; exit code 0 all here, 2 bad input, told how to get it."""
    parser = argparse.ArgumentParser(prog="python -m evaluation check", description=__doc__)
    parser.add_argument("--prompts", type=Path, required=True, help="the prompts file")
    arguments = parser.parse_args(argv)
    found = [identify(each) for each in read_protocol(arguments.prompts).extractors]
    print(f"evaluate: {arguments.prompts} and its extractors are here: {', '.join(each.name for each in found)}")
    return DONE
