"""Randomness by name: every random stream is derived from one seed and the name of its use.

A stream that is derived afresh for each step needs no saved state, so a run that was killed and resumed draws exactly what the
uninterrupted run would have drawn.
"""

import hashlib


def derive(seed: int, *names: str | int) -> int:
    """Return the seed of the random stream ``names`` under ``seed``, in 0 … 2**63 - 1.

    >>> derive(1, "noise", 7) == derive(1, "noise", 7) != derive(1, "noise", 8)
    True
    """
    text = "/".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
