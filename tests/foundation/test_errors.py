import errno
import os
import signal
from collections.abc import Sequence

import pytest

from foundation.errors import BAD_INPUT, DONE, FAILED, INTERRUPTED, BadInput, StageFailed, command


@pytest.mark.parametrize(("error", "code"), [(None, DONE), (BadInput("what, where"), BAD_INPUT), (StageFailed("what"), FAILED)])
def test_errors_a_user_can_act_on_become_one_line_and_an_exit_code(
    error: Exception | None, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    @command
    def main(argv: Sequence[str] | None = None) -> int:
        if error:
            raise error
        return DONE

    assert main([]) == code
    stderr = capsys.readouterr().err
    assert stderr.count("\n") == (0 if error is None else 1)
    assert "Traceback" not in stderr


def test_a_full_disk_is_one_line_and_unexpected_system_errors_keep_their_traceback(
    capsys: pytest.CaptureFixture[str],
) -> None:
    @command
    def main(argv: Sequence[str] | None = None) -> int:
        raise OSError(errno.ENOSPC if argv else errno.EBADF, "No space left on device", "outputs/x.json")

    assert main(["full"]) == FAILED
    stderr = capsys.readouterr().err
    assert stderr.startswith("failed: outputs/x.json cannot be written (No space left on device).")
    assert stderr.count("\n") == 1
    with pytest.raises(OSError, match=r"x\.json"):
        main([])


def test_a_bug_keeps_its_traceback() -> None:
    @command
    def main(argv: Sequence[str] | None = None) -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        main([])


def test_sigterm_runs_the_cleanup_and_says_how_to_resume(capsys: pytest.CaptureFixture[str]) -> None:
    cleaned_up = []

    @command
    def long_work(argv: Sequence[str] | None = None) -> int:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            return 0
        finally:
            cleaned_up.append(argv)

    before = signal.getsignal(signal.SIGTERM)
    assert long_work([]) == INTERRUPTED
    assert cleaned_up
    assert "interrupted; run the same command again to resume" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) is before
