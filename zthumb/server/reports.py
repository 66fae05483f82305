"""The evaluation's reports on this machine: which there are, what each says, and its page."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

from foundation.errors import BadInput
from foundation.verdict import NAME as VERDICT
from foundation.verdict import Verdict, read_verdict

PAGE = "report.html"


@dataclass(frozen=True)
class Report:
    """A report of the evaluation ``run``: its verdict, if it has come to one, and when it was written, in seconds since 1970."""

    run: str
    verdict: Verdict | None
    written: float


class Reports:
    """The reports in ``folder``, each in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def all(self) -> list[Report]:
        """Return every report that has a page, the newest first."""
        pages = [page for page in self._folder.glob(f"*/{PAGE}") if page.is_file()]
        found = [Report(page.parent.name, _verdict(page.parent / VERDICT), page.stat().st_mtime) for page in pages]
        return sorted(found, key=lambda report: (-report.written, report.run))

    def find(self, run: str) -> Report | None:
        """Return the report of ``run``; None if there is none with a page."""
        page = self.page(run)
        return Report(run, _verdict(page.parent / VERDICT), page.stat().st_mtime) if page else None

    def page(self, run: str) -> Path | None:
        """Return the page of a report; None if there is none of that name."""
        page = self._folder / run / PAGE
        # The name of a folder in this one, and nothing else.
        return page if page.parent.parent == self._folder and run not in (".", "..") and page.is_file() else None


def _verdict(file: Path) -> Verdict | None:
    with contextlib.suppress(BadInput, OSError, ValueError):
        return read_verdict(file)
    return None
