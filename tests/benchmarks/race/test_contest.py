"""Contestants take turns, and a ratio says how sure it is."""

import sys
from pathlib import Path

import pytest

from benchmarks.race.contest import Entry, race, ratio
from foundation.errors import StageFailed

WORKS = "import sys\nprint('ready', flush=True)\nfor line in sys.stdin: print({each} * int(line), flush=True)"


def _entry(name: str, program: str, folder: Path) -> Entry:
    return Entry(name, [sys.executable, "-c", program], folder / f"{name}.log")


def test_each_takes_its_turn_in_every_round_and_what_is_done_once_does_not_count(tmp_path: Path) -> None:
    fast = _entry("fast", WORKS.format(each=0.5), tmp_path)
    slow = _entry("slow", WORKS.replace("{each} *", "100 + 2.0 *"), tmp_path)
    assert race([fast, slow], rounds=3, threads=1) == {"fast": [0.5] * 3, "slow": [2.0] * 3}


def test_a_contestant_has_the_threads_that_it_is_given(tmp_path: Path) -> None:
    program = "import os\n" + WORKS.format(each="float(os.environ['OMP_NUM_THREADS'])")
    assert race([_entry("one", program, tmp_path)], rounds=1, threads=7) == {"one": [7.0]}


@pytest.mark.parametrize("before", ["", "print('ready', flush=True)\n"])
def test_one_that_fails_is_named_with_what_it_said(tmp_path: Path, before: str) -> None:
    program = f"{before}raise SystemExit('no such base')"
    with pytest.raises(StageFailed, match="lame: no such base"):
        race([_entry("lame", program, tmp_path)], rounds=1, threads=1)


def test_a_ratio_is_the_median_over_rounds_with_the_middle_half() -> None:
    found = ratio([1.0, 2.0, 3.0, 4.0, 50.0], [1.0, 1.0, 1.0, 1.0, 10.0])
    assert found == {"ratio": 3.0, "low": 2.0, "high": 4.0}
    assert ratio([3.0], [2.0]) == {"ratio": 1.5, "low": 1.5, "high": 1.5}
