"""How the OpenMP threads of torch wait for one another when other programs use the processor."""

import os
import time
from pathlib import Path

SPIN_COUNT = 200_000
ASLEEP = "passive"
_WAIT_VARIABLES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
_PROC_STAT = Path("/proc/stat")
_SAMPLE_S, _SAMPLES, _BUSY_PROCESSORS = 0.1, 10, 0.5
_IDLE_COLUMNS = (3, 4)
"""Indices of the idle times in a processor's line of /proc/stat: idle, and idle while waiting for a disk (proc(5))."""


def set_thread_wait_policy() -> None:
    """Let waiting threads sleep after a number of spins, or at once on a busy machine. Call it before torch is imported.

    OpenMP's threads spin while they wait. On a quiet machine that saves the time to wake them. Next to one busy process, the
    thread that the others wait for queues behind the spinning ones (``docs/benchmarks.md``). Results do not change: the number
    of threads and what each of them sums stay the same. Variables that the user has set stay.
    """
    if any(name in os.environ for name in _WAIT_VARIABLES):
        return
    # A process that pauses now and then is no reason to sleep: one sample that finds the processor free is enough.
    if all(busy_processors() > _BUSY_PROCESSORS for _ in range(_SAMPLES)):
        os.environ["OMP_WAIT_POLICY"] = ASLEEP
    else:
        os.environ["GOMP_SPINCOUNT"] = str(SPIN_COUNT)


def busy_processors() -> float:
    """Return how many processors other programs keep busy, measured over 0.1 s; 0 where the system does not report it."""
    try:
        start = _processor_times()
        time.sleep(_SAMPLE_S)
        spent = [after - before for before, after in zip(start, _processor_times(), strict=True)]
    except (OSError, ValueError, IndexError):
        return 0.0
    total = sum(spent)
    idle = sum(spent[column] for column in _IDLE_COLUMNS)
    return (os.cpu_count() or 1) * (1 - idle / total) if total else 0.0


def _processor_times() -> list[int]:
    return [int(ticks) for ticks in _PROC_STAT.read_text(encoding="ascii").splitlines()[0].split()[1:9]]
