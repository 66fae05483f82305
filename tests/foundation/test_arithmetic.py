"""What decides rounding is told, and can be fixed before torch is loaded."""

import ast
import os
import subprocess
import sys

import pytest

from foundation.arithmetic import arithmetic_facts, make_portable
from foundation.errors import BadInput
from foundation.threads import ASLEEP, SPINS, busy_processors, choose_waiting
from tests.conftest import ROOT


def test_a_portable_process_computes_in_avx2_with_two_threads_and_says_so() -> None:
    code = (
        "from foundation.arithmetic import arithmetic_facts, make_portable, without_onednn\n"
        "make_portable()\n"
        "import torch\n"
        "without_onednn()\n"
        "print(arithmetic_facts())"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "MKL_", "ATEN_"))}

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)

    facts = ast.literal_eval(done.stdout)
    assert (facts["instruction_set"], facts["threads"], facts["mkl_cbwr"], facts["onednn"]) == ("AVX2", 2, "COMPATIBLE", False)
    assert facts["processor"]


def test_too_late_is_an_error_and_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch  # noqa: F401

    monkeypatch.setenv("MKL_CBWR", "AUTO")

    with pytest.raises(BadInput, match="torch is loaded already"):
        make_portable()
    assert arithmetic_facts()["mkl_cbwr"] == "AUTO"


@pytest.mark.parametrize("own", [{}, {"OMP_WAIT_POLICY": "active"}, {"GOMP_SPINCOUNT": "7"}])
@pytest.mark.parametrize("busy", [0.1, 1.0])
def test_threads_sleep_after_a_while_or_at_once_unless_the_user_has_said_otherwise(
    monkeypatch: pytest.MonkeyPatch, own: dict[str, str], busy: float
) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in own.items():
        monkeypatch.setenv(name, value)

    monkeypatch.setattr("foundation.threads.busy_processors", lambda: busy)

    choose_waiting()

    told = own or ({"OMP_WAIT_POLICY": ASLEEP} if busy > 0.5 else {"GOMP_SPINCOUNT": str(SPINS)})
    assert {name: os.environ[name] for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY") if name in os.environ} == told


def test_a_busy_process_is_seen() -> None:
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        assert max(busy_processors() for _ in range(20)) > 0.5
    finally:
        process.kill()
        process.wait()
