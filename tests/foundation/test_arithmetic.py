"""What decides rounding is recorded, and can be fixed before torch is loaded."""

import ast
import os
import subprocess
import sys

import pytest

from foundation.arithmetic import arithmetic_info, make_portable
from foundation.errors import BadInput
from foundation.threads import ASLEEP, SPIN_COUNT, busy_processors, set_thread_wait_policy
from tests.conftest import ROOT


def test_a_portable_process_computes_in_avx2_with_two_threads_and_says_so() -> None:
    code = (
        "from foundation.arithmetic import arithmetic_info, make_portable, disable_onednn\n"
        "make_portable()\n"
        "import torch\n"
        "disable_onednn()\n"
        "print(arithmetic_info())"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "MKL_", "ATEN_"))}

    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)

    facts = ast.literal_eval(result.stdout)
    assert (facts["instruction_set"], facts["threads"], facts["mkl_cbwr"], facts["onednn"]) == ("AVX2", 2, "COMPATIBLE", False)
    assert facts["processor"]


def test_make_portable_after_torch_was_loaded_is_an_error_and_not_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch  # noqa: F401

    monkeypatch.setenv("MKL_CBWR", "AUTO")

    with pytest.raises(BadInput, match="torch is already loaded"):
        make_portable()
    assert arithmetic_info()["mkl_cbwr"] == "AUTO"


@pytest.mark.parametrize("user_settings", [{}, {"OMP_WAIT_POLICY": "active"}, {"GOMP_SPINCOUNT": "7"}])
@pytest.mark.parametrize("busy", [0.1, 1.0])
def test_threads_sleep_after_spinning_or_at_once_on_a_busy_machine_unless_the_user_set_otherwise(
    monkeypatch: pytest.MonkeyPatch, user_settings: dict[str, str], busy: float
) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in user_settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("foundation.threads.busy_processors", lambda: busy)

    set_thread_wait_policy()

    expected = user_settings or ({"OMP_WAIT_POLICY": ASLEEP} if busy > 0.5 else {"GOMP_SPINCOUNT": str(SPIN_COUNT)})
    assert {name: os.environ[name] for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY") if name in os.environ} == expected


def test_a_busy_process_is_measured() -> None:
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        assert max(busy_processors() for _ in range(20)) > 0.5
    finally:
        process.kill()
        process.wait()
