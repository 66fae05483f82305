"""Check every row of both SOURCE_OF_TRUTH.md against its evidence file; exit code 1 and one line for each fault."""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DOCUMENTS = ("SOURCE_OF_TRUTH.md", "zthumb/docs/SOURCE_OF_TRUTH.md")
PLACEHOLDER = re.compile(r"\b(TBD|TODO|FIXME|XXX|placeholder|changeme)\b|<[a-z ]+>|\?\?", re.IGNORECASE)
CODE = re.compile(r"`([^`]+)`")


@dataclass(frozen=True)
class Row:
    """One row of a table: the name of a fact, its value, and the file that proves it."""

    line: int
    section: str
    name: str
    value: str
    evidence: str


def rows(document: str) -> Iterator[Row]:
    """Yield the rows of all tables with the three columns name, value, evidence."""
    section = ""
    for number, line in enumerate(document.splitlines(), start=1):
        if line.startswith("## "):
            section = line[3:].strip()
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith("|") and len(cells) == 3 and CODE.fullmatch(cells[2]):
            yield Row(number, section, cells[0].strip("`"), cells[1].strip("`"), cells[2].strip("`"))


def faults(root: Path) -> list[str]:
    """Return the faults of the documents in ``root``, one line each."""
    return [f"{name}: {fault}" for name in DOCUMENTS for fault in _faults((root / name).read_text(encoding="utf-8"), root)]


def _faults(document: str, root: Path) -> list[str]:
    messages = [
        f"line {number}: a placeholder: {line.strip()}"
        for number, line in enumerate(document.splitlines(), start=1)
        if PLACEHOLDER.search(line)
    ]
    table = list(rows(document))
    if not table:
        messages.append("no rows")
    return messages + [fault for row in table if (fault := _fault(row, root))]


def _fault(row: Row, root: Path) -> str | None:
    evidence = root / row.evidence
    if not evidence.exists():
        return f"line {row.line}: {row.name}: {row.evidence} is missing"
    proof = f"{row.name}=={row.value}" if row.section == "Package versions" else row.value
    if evidence.is_file() and not _contains_value(evidence.read_text(encoding="utf-8"), proof):
        return f"line {row.line}: {row.name}: {row.evidence} does not say {proof!r}"
    return None


def _contains_value(text: str, proof: str) -> bool:
    """Return whether ``text`` contains ``proof`` as a whole value: 2.1 is not part of 12.1 or 2.1.5."""
    return re.search(rf"(?<![\w.-]){re.escape(proof)}(?![\w-]|\.\w)", text) is not None


def main() -> int:
    """Print the faults; exit code 0 if there are none, else 1."""
    messages = faults(Path(__file__).resolve().parent.parent)
    for message in messages:
        print(message, file=sys.stderr)
    if not messages:
        print(f"{' and '.join(DOCUMENTS)} agree with the files they name")
    return 1 if messages else 0


if __name__ == "__main__":
    sys.exit(main())
