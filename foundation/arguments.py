"""Arguments that several commands share."""

import argparse
import re

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def positive(text: str) -> int:
    """A whole number of at least 1; for ``argparse``'s ``type``."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)


def run_name(text: str) -> str:
    """The name of a run, which is also that of its folders; for ``argparse``'s ``type``.

    Refused is whatever could lead elsewhere than into a folder of its own.
    """
    if not _NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no name: letters, digits, '.', '-' and '_', beginning with a letter or digit"
        )
    return text
