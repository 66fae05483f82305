"""Contestants that take turns: processes that wait until they are asked to work, and say how long it took."""

import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tqdm import trange

from foundation.errors import StageFailed

READY = "ready"
"""What a contestant prints once it is warm. From then on it reads counts, one a line, and answers each with seconds."""
FEW, MANY = 2, 6
"""The counts whose times are subtracted, so that what is done once is in neither."""


_PATIENCE_S = 60.0


@dataclass(frozen=True)
class Entry:
    """A contestant: its name, its command, and the log of what it says besides."""

    name: str
    command: Sequence[str]
    log: Path


class Contestant:
    """A running process of an entry."""

    def __init__(self, name: str, process: "subprocess.Popen[str]", log: Path) -> None:
        self.name, self._process, self._log = name, process, log

    def wait_until_ready(self) -> None:
        """Return once it is warm."""
        if self._answer() != READY:
            raise self._failure()

    def seconds_each(self) -> float:
        """Return the seconds that one piece of work takes, as the slope between a few and many."""
        return (self._seconds(MANY) - self._seconds(FEW)) / (MANY - FEW)

    def _seconds(self, count: int) -> float:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{count}\n")
            self._process.stdin.flush()
            return float(self._answer())
        except (OSError, ValueError):
            raise self._failure() from None

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def _failure(self) -> StageFailed:
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return StageFailed(f"{self.name}: {lines[-1] if lines else 'ended without a word'}. {self._log} has all that it said.")


def race(entries: Sequence[Entry], rounds: int, threads: int) -> dict[str, list[float]]:
    """Return by name the seconds of each round, in which all take their turns; each has so many ``threads``."""
    with ExitStack() as running:
        contestants = [running.enter_context(_run(entry, threads)) for entry in entries]
        times: dict[str, list[float]] = {contestant.name: [] for contestant in contestants}
        for _ in trange(rounds, desc="race", unit="round"):
            for contestant in contestants:
                times[contestant.name].append(contestant.seconds_each())
    return times


def answer(work: Callable[[int], object]) -> None:
    """Be a contestant: do ``work`` once, then as often as is asked for, and say how long it took, until the input ends."""
    work(0)
    print(READY, flush=True)
    number = 1
    for line in sys.stdin:
        started = time.perf_counter()
        for _ in range(int(line)):
            work(number)
            number += 1
        print(time.perf_counter() - started, flush=True)


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """Return our seconds by theirs: the median over the rounds, and between which values half of the rounds are."""
    ratios = sorted(own / other for own, other in zip(ours, theirs, strict=True))
    if len(ratios) < 2:
        return {"ratio": ratios[0], "low": ratios[0], "high": ratios[0]}
    low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return {"ratio": median, "low": low, "high": high}


@contextmanager
def _run(entry: Entry, threads: int) -> Iterator[Contestant]:
    environment: Mapping[str, str] = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    entry.log.parent.mkdir(parents=True, exist_ok=True)
    with entry.log.open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            entry.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
        )
    try:
        contestant = Contestant(entry.name, process, entry.log)
        contestant.wait_until_ready()
        yield contestant
    finally:
        _end(process)


def _end(process: "subprocess.Popen[str]") -> None:
    """Let a contestant end by itself, with what it has started, as its input ends."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        process.communicate(timeout=_PATIENCE_S)
    process.kill()
    process.wait()
