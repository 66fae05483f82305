"""Types of command-line arguments that several commands share."""

import argparse
import re

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def positive(text: str) -> int:
    """Parse an integer of at least 1; for ``argparse``'s ``type``."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer of at least 1")
    return int(text)


def run_name(text: str) -> str:
    """Check the name of a run, which is also the name of its folders; for ``argparse``'s ``type``.

    Refuses anything that could lead out of the run's own folder.
    """
    if not _NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a valid name: use letters, digits, '.', '-' and '_', and begin with a letter or digit"
        )
    return text
