"""Check every row of both SOURCE_OF_TRUTH.md against the file that is its evidence; exit code 1 and a line for each fault."""

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
    """One row: what it speaks of, the value it states, the file that proves it."""

    line: int
    section: str
    name: str
    value: str
    evidence: str


def rows(document: str) -> Iterator[Row]:
    """The rows of all tables, read from the three columns name, value, evidence."""
    section = ""
    for number, line in enumerate(document.splitlines(), start=1):
        if line.startswith("## "):
            section = line[3:].strip()
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith("|") and len(cells) == 3 and CODE.fullmatch(cells[2]):
            yield Row(number, section, cells[0].strip("`"), cells[1].strip("`"), cells[2].strip("`"))


def faults(root: Path) -> list[str]:
    """What is wrong with the documents in ``root``, a line each."""
    return [f"{name}: {fault}" for name in DOCUMENTS for fault in _faults((root / name).read_text(encoding="utf-8"), root)]


def _faults(document: str, root: Path) -> list[str]:
    found = [
        f"line {number}: a placeholder: {line.strip()}"
        for number, line in enumerate(document.splitlines(), start=1)
        if PLACEHOLDER.search(line)
    ]
    table = list(rows(document))
    if not table:
        found.append("no rows are in it")
    return found + [fault for row in table if (fault := _fault(row, root))]


def _fault(row: Row, root: Path) -> str | None:
    evidence = root / row.evidence
    if not evidence.exists():
        return f"line {row.line}: {row.name}: {row.evidence} is missing"
    proof = f"{row.name}=={row.value}" if row.section == "Package versions" else row.value
    if evidence.is_file() and not _says(evidence.read_text(encoding="utf-8"), proof):
        return f"line {row.line}: {row.name}: {row.evidence} does not say {proof!r}"
    return None


def _says(text: str, proof: str) -> bool:
    """Whether ``proof`` stands in ``text`` as a value of its own: 2.1 is not said by 12.1, nor by 2.1.5."""
    return re.search(rf"(?<![\w.-]){re.escape(proof)}(?![\w-]|\.\w)", text) is not None


def main() -> int:
    """Print what is wrong; exit code 0 nothing, 1 something."""
    found = faults(Path(__file__).resolve().parent.parent)
    for fault in found:
        print(fault, file=sys.stderr)
    if not found:
        print(f"{' and '.join(DOCUMENTS)} agree with the files they name")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
