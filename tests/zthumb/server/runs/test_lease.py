"""A lease is free again when its holder is gone, however it ended."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from zthumb.server.runs import lease

HOLD = "import sys, time; from pathlib import Path; from zthumb.server.runs import lease\n"
HOLD += "with lease.hold(Path(sys.argv[1])) as held: print(held is not None, flush=True); time.sleep(60)"


def test_a_lease_is_free_before_anyone_and_after_its_holder_has_let_go(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    assert not lease.is_held(path)
    with lease.hold(path) as held:
        assert held is not None
        # Looking at it changes nothing, however many look at the same time.
        assert lease.is_held(path)
        assert lease.is_held(path)
    assert not lease.is_held(path)


def test_a_lease_of_another_process_is_held_until_that_process_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"True\n"
    assert lease.is_held(path)
    # When it cannot say goodbye
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert not lease.is_held(path)


def test_a_lease_is_held_as_long_as_a_process_lives_that_inherited_it(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    with lease.hold(path) as held:
        assert held is not None
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(held,))
    assert lease.is_held(path)
    child.communicate(b"\n")
    assert not lease.is_held(path)


def test_whoever_looks_does_not_keep_another_from_holding_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "_LONG_ENOUGH_S", 0.1)
    path = tmp_path / "lease"
    path.touch()
    with lease.hold(path) as held:
        assert held is not None
    with lease.hold(path) as first, lease.hold(path) as second:
        assert (first is not None, second) == (True, None)
