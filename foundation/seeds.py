"""Randomness by name: every random stream is derived from one seed and the name of its use.

A stream derived afresh for each step needs no state of its own, so a run that was killed and resumed draws just what the
uninterrupted run would have drawn.
"""

import hashlib


def derive(seed: int, *names: str | int) -> int:
    """The seed of the stream called ``names`` below ``seed``, in 0 … 2**63 - 1.

    >>> derive(1, "noise", 7) == derive(1, "noise", 7) != derive(1, "noise", 8)
    True
    """
    text = "/".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
