import errno
from collections.abc import Sequence

import pytest

from foundation.errors import BAD_INPUT, DONE, FAILED, BadInput, StageFailed, command


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
