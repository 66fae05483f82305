import errno
import os
import signal
from collections.abc import Sequence

import pytest

from foundation.errors import BAD_INPUT, DONE, FAILED, INTERRUPTED, BadInput, StageFailed, command


@pytest.mark.parametrize(("error", "code"), [(None, DONE), (BadInput("what, where"), BAD_INPUT), (StageFailed("what"), FAILED)])
def test_errors_a_person_can_act_on_become_one_line_and_an_exit_code(
    error: Exception | None, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    @command
    def main(argv: Sequence[str] | None = None) -> int:
        if error:
            raise error
        return DONE

    assert main([]) == code
    printed = capsys.readouterr().err
    assert printed.count("\n") == (0 if error is None else 1)
    assert "Traceback" not in printed


def test_a_full_disk_is_told_in_one_line_and_other_faults_of_the_system_are_bugs(capsys: pytest.CaptureFixture[str]) -> None:
    @command
    def main(argv: Sequence[str] | None = None) -> int:
        raise OSError(errno.ENOSPC if argv else errno.EBADF, "No space left on device", "outputs/x.json")

    assert main(["full"]) == FAILED
    printed = capsys.readouterr().err
    assert printed.startswith("failed: outputs/x.json cannot be written (No space left on device).")
    assert printed.count("\n") == 1
    with pytest.raises(OSError, match=r"x\.json"):
        main([])


def test_a_bug_keeps_its_traceback() -> None:
    @command
    def main(argv: Sequence[str] | None = None) -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        main([])


def test_asked_to_stop_it_says_so_and_puts_everything_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    in_order = []

    @command
    def long_work(argv: Sequence[str] | None = None) -> int:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            return 0
        finally:
            in_order.append(argv)

    before = signal.getsignal(signal.SIGTERM)
    assert long_work([]) == INTERRUPTED
    assert in_order
    assert "interrupted; the same command goes on from here" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) is before
