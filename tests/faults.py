"""Pytest plugin: counts the faults that the tests' own servers injected and reports them at the end."""

from collections import Counter
from typing import Any

import pytest

INJECTED: Counter[str] = Counter()
"""Number of injected faults in this process, by kind."""


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["faults"] = dict(INJECTED)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    INJECTED.update(getattr(node, "workeroutput", {}).get("faults", {}))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if INJECTED.total():
        counts = ", ".join(f"{count} {kind}" for kind, count in sorted(INJECTED.items()) if count)
        terminalreporter.write_line(f"faults injected into downloads: {INJECTED.total()} ({counts})")
