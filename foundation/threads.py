"""How threads of torch wait for one another beside other programs."""

import os

SPINS = 10_000
_TOLD = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


def spin_briefly() -> None:
    """Let threads that wait sleep after a while, as they do not by themselves; to be called before torch is loaded.

    OpenMP's threads spin where they wait. On a quiet machine that saves the time to wake them. Beside one busy process the thread
    that is waited for stands in line behind those that spin: a training step took 25 to 30 times as long on two cores. With this
    many turns a quiet machine loses nothing that could be measured. What the user has set stays.
    """
    if not any(name in os.environ for name in _TOLD):
        os.environ["GOMP_SPINCOUNT"] = str(SPINS)
