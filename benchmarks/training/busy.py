"""``make bench_train``, second part: a training step alone and beside a busy process, by how threads wait for one another.

How OpenMP's threads wait is read when torch is loaded, so each way is a process of its own; they take turns.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tqdm import trange

from foundation.errors import DONE, StageFailed, command
from foundation.files import write_json
from foundation.manifest import package_versions, platform_facts
from foundation.threads import ASLEEP, SPINS

OUT, DATASET = Path("outputs/bench/busy.json"), Path("datasets/z")
WAYS = {
    "spin, as OpenMP does by itself": {},
    f"spin {SPINS:,} times, then sleep (ours, begun on a quiet machine)": {"GOMP_SPINCOUNT": str(SPINS)},
    "sleep at once (ours, begun beside a busy process)": {"OMP_WAIT_POLICY": ASLEEP},
}
STEPS = 4
_SET = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OMP_NUM_THREADS")


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write ``outputs/bench/busy.json``; exit code 0 done, 1 failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training.busy", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured; the median counts (default: 5)")
    rounds: int = parser.parse_args(argv).rounds
    times: dict[str, dict[str, list[float]]] = {way: {"alone": [], "busy": []} for way in WAYS}
    with ExitStack() as stack:
        steppers = {way: stack.enter_context(_stepper(settings)) for way, settings in WAYS.items()}
        for _ in trange(rounds, desc="bench", unit="round"):
            for way, stepper in steppers.items():
                times[way]["alone"].append(_step(stepper))
            with _busy_process():
                for way, stepper in steppers.items():
                    times[way]["busy"].append(_step(stepper))
    rows = [{"way": way, **{name: statistics.median(found) for name, found in both.items()}} for way, both in times.items()]
    write_json(OUT, {"rows": rows, "rounds": rounds, "platform": platform_facts(), "packages": package_versions()})
    for row in rows:
        print(f"{row['way']:64}{row['alone']:8.3f} s alone{row['busy']:8.3f} s beside a busy process")
    print(OUT)
    return DONE


@contextmanager
def _stepper(settings: dict[str, str]) -> Iterator["subprocess.Popen[str]"]:
    """A process that makes one step for each line it is sent, and answers with its seconds."""
    environment = {name: value for name, value in os.environ.items() if name not in _SET} | settings
    code = "from benchmarks.training.busy import answer; answer()"
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _step(stepper: "subprocess.Popen[str]") -> float:
    """Seconds of a step, the mean of some that follow one another."""
    return statistics.mean(_one(stepper) for _ in range(STEPS))


def _one(stepper: "subprocess.Popen[str]") -> float:
    assert stepper.stdin is not None
    assert stepper.stdout is not None
    stepper.stdin.write("\n")
    stepper.stdin.flush()
    told = stepper.stdout.readline()
    if not told:
        raise StageFailed("bench: the process that makes the steps has ended; its own message is above")
    return float(told)


@contextmanager
def _busy_process() -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def answer() -> None:
    """Make a step of the shipped recipe for each line that comes in, and answer with its seconds."""
    from benchmarks.training.ours import OurLoop
    from training import recipe as recipes

    loop = OurLoop(recipes.load("mini", []), DATASET).train_step
    loop.step(0)  # what is made at the first step is made now
    for number, _ in enumerate(sys.stdin, start=1):
        started = time.perf_counter()
        loop.step(number)
        print(time.perf_counter() - started, flush=True)


if __name__ == "__main__":
    sys.exit(main())
