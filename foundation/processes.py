"""The processes of a distributed run, as their launcher (torchrun, accelerate) describes them in the environment."""

import os


def count() -> int:
    """Return the number of processes (``WORLD_SIZE``)."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Return whether this is the process of rank 0, the only one that writes the results of all."""
    return int(os.environ.get("RANK", "0")) == 0
