"""The processes that work on one run together, as their launcher (torchrun, accelerate) tells each of them."""

import os


def count() -> int:
    """How many there are."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this is the one that leads: it alone writes what all have made."""
    return int(os.environ.get("RANK", "0")) == 0
