"""``make bench_train``, second part: a training step alone and beside a busy process, by how threads wait for one another.

OpenMP reads how its threads should wait when torch is loaded, so each way runs in its own process; the processes take turns.
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
from foundation.manifest import package_versions, platform_info
from foundation.threads import ASLEEP, SPIN_COUNT

OUT, DATASET = Path("outputs/bench/busy.json"), Path("datasets/z")
WAYS = {
    "spin, as OpenMP does by itself": {},
    f"spin {SPIN_COUNT:,} times, then sleep (ours, begun on a quiet machine)": {"GOMP_SPINCOUNT": str(SPIN_COUNT)},
    "sleep at once (ours, begun beside a busy process)": {"OMP_WAIT_POLICY": ASLEEP},
}
STEPS = 4
_OVERRIDDEN = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OMP_NUM_THREADS")


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write ``outputs/bench/busy.json``; exit code 0 done, 1 failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training.busy", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="number of rounds; figures are medians (default: 5)")
    rounds: int = parser.parse_args(argv).rounds
    times: dict[str, dict[str, list[float]]] = {way: {"alone": [], "busy": []} for way in WAYS}
    with ExitStack() as stack:
        steppers = {way: stack.enter_context(_stepper(settings)) for way, settings in WAYS.items()}
        for _ in trange(rounds, desc="bench", unit="round"):
            for way, stepper in steppers.items():
                times[way]["alone"].append(_time_steps(stepper))
            with _busy_process():
                for way, stepper in steppers.items():
                    times[way]["busy"].append(_time_steps(stepper))
    rows = [
        {"way": way, **{load: statistics.median(seconds) for load, seconds in by_load.items()}} for way, by_load in times.items()
    ]
    write_json(OUT, {"rows": rows, "rounds": rounds, "platform": platform_info(), "packages": package_versions()})
    for row in rows:
        print(f"{row['way']:64}{row['alone']:8.3f} s alone{row['busy']:8.3f} s beside a busy process")
    print(OUT)
    return DONE


@contextmanager
def _stepper(settings: dict[str, str]) -> Iterator["subprocess.Popen[str]"]:
    """Run a process that makes one step for each line it receives and prints the seconds it took."""
    environment = {name: value for name, value in os.environ.items() if name not in _OVERRIDDEN} | settings
    code = "from benchmarks.training.busy import make_timed_steps; make_timed_steps()"
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _time_steps(stepper: "subprocess.Popen[str]") -> float:
    """Return the seconds per step, as the mean of ``STEPS`` successive steps."""
    return statistics.mean(_time_step(stepper) for _ in range(STEPS))


def _time_step(stepper: "subprocess.Popen[str]") -> float:
    assert stepper.stdin is not None
    assert stepper.stdout is not None
    stepper.stdin.write("\n")
    stepper.stdin.flush()
    line = stepper.stdout.readline()
    if not line:
        raise StageFailed("bench: the process that makes the training steps exited; its own message is above")
    return float(line)


@contextmanager
def _busy_process() -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def make_timed_steps() -> None:
    """Make a step of the shipped recipe for each line on stdin, and print the seconds it took."""
    from benchmarks.training.trainer_loop import TrainerLoop
    from training import recipe as recipes

    train_step = TrainerLoop(recipes.load("mini", []), DATASET).train_step
    train_step.step(0)  # includes the work that only the first step does
    for number, _ in enumerate(sys.stdin, start=1):
        started = time.perf_counter()
        train_step.step(number)
        print(time.perf_counter() - started, flush=True)


if __name__ == "__main__":
    sys.exit(main())
