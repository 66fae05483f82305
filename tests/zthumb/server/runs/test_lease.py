"""A lease is free again when its holder is gone, however it ended."""

import signal
import subprocess
import sys
from pathlib import Path

from zthumb.server.runs import lease

HOLD = "import sys, time; from pathlib import Path; from zthumb.server.runs import lease\n"
HOLD += "with lease.hold(Path(sys.argv[1])) as is_ours: print(is_ours, flush=True); time.sleep(60)"


def test_a_lease_is_free_before_anyone_and_after_its_holder_has_let_go(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    assert not lease.is_held(path)
    with lease.hold(path) as is_ours:
        assert is_ours
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
