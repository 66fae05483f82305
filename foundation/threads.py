"""How threads of torch wait for one another beside other programs."""

import os
import time
from pathlib import Path

SPINS = 200_000
ASLEEP = "passive"
_TOLD = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
_STATISTICS = Path("/proc/stat")
_LOOK_S, _LOOKS, _BUSY = 0.1, 10, 0.5
_IDLE = (3, 4)
"""Places of a processor's idle times in its line of statistics, waiting for a disk among them (proc(5))."""


def choose_waiting() -> None:
    """Let threads that wait sleep after a while, or at once where others want the processor; to be called before torch is loaded.

    OpenMP's threads spin where they wait. On a quiet machine that saves the time to wake them. Beside one busy process the thread
    that is waited for stands in line behind those that spin (``docs/benchmarks.md``). It changes no sum: threads and what each of
    them adds stay the same. What the user has set stays.
    """
    if any(name in os.environ for name in _TOLD):
        return
    # What rests now and then is no reason: one look that finds the processor free is enough.
    if all(busy_processors() > _BUSY for _ in range(_LOOKS)):
        os.environ["OMP_WAIT_POLICY"] = ASLEEP
    else:
        os.environ["GOMP_SPINCOUNT"] = str(SPINS)


def busy_processors() -> float:
    """How many processors others keep busy just now, over a tenth of a second; 0 where the system does not tell."""
    try:
        before = _times()
        time.sleep(_LOOK_S)
        spent = [after - earlier for earlier, after in zip(before, _times(), strict=True)]
    except (OSError, ValueError, IndexError):
        return 0.0
    whole = sum(spent)
    idle = sum(spent[place] for place in _IDLE)
    return (os.cpu_count() or 1) * (1 - idle / whole) if whole else 0.0


def _times() -> list[int]:
    return [int(each) for each in _STATISTICS.read_text(encoding="ascii").splitlines()[0].split()[1:9]]
