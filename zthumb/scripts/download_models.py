"""Fetch models of the catalogue: ``python -m zthumb.scripts.download_models [NAME…]``."""

import argparse
import sys
from collections.abc import Mapping, Sequence

from foundation.errors import DONE, FAILED, BadInput, command
from foundation.plugins import suggestion
from zthumb.sources import catalogue
from zthumb.sources.catalogue import MODELS, Entry, faults, place
from zthumb.sources.progress import bars
from zthumb.sources.resolve import Resolver


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Fetch, list or verify; exit code 0 done, 1 a file is not what it should be, 2 bad input."""
    arguments = _parser().parse_args(argv)
    chosen = _chosen(arguments.names)
    if arguments.list:
        for name, entry in chosen.items():
            print(_line(name, entry))
        return DONE
    if arguments.verify and not arguments.names:
        chosen = {name: entry for name, entry in chosen.items() if (where := place(entry)) and where.exists()}
    faults = [fault for name, entry in chosen.items() for fault in _done(name, entry, fetch=not arguments.verify)]
    for fault in faults:
        print(f"download: {fault}", file=sys.stderr)
    return FAILED if faults else DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m zthumb.scripts.download_models",
        description="Fetch models of the catalogue into models/, whole and verified; what is there already is not fetched again. "
        "A gated one takes HF_TOKEN and its licence accepted on its page. With HF_HUB_OFFLINE=1 nothing is fetched.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="names of the catalogue, or any other reference (default: all)")
    parser.add_argument("--list", action="store_true", help="tell what there is, and do nothing else")
    parser.add_argument("--verify", action="store_true", help="only check what is here against the catalogue's hashes")
    return parser


def _chosen(names: Sequence[str]) -> dict[str, Entry]:
    """The entries of ``names``; another reference is one of its own."""
    known = catalogue.entries()
    if not names:
        return known
    return {name: known.get(name) or _entry_of(name, known) for name in names}


def _entry_of(text: str, known: Mapping[str, Entry]) -> Entry:
    if "/" not in text and ":" not in text:
        raise BadInput(f"{text}: not in the catalogue. {suggestion(text, sorted(known))}")
    return Entry(purpose="named on the command line", reference=text, licence="unknown")


def _line(name: str, entry: Entry) -> str:
    where = place(entry)
    state = "here" if where is not None and where.exists() else "not here"
    size = f"{entry.size / 1e9:.2f} GB" if entry.size else "?"
    gate = ", gated" if entry.gated else ""
    return f"{name:24}{state:10}{size:>9}  {entry.licence}{gate}: {entry.purpose} ({entry.reference.partition('@')[0]})"


def _done(name: str, entry: Entry, fetch: bool) -> list[str]:
    """Fetch or verify one; what is wrong with it."""
    where = place(entry)
    if fetch:
        with bars() as watch:
            where = Resolver(MODELS, watch=watch).path(name if name in catalogue.entries() else entry.reference)
        print(f"download: {name}: {where}")
        return []
    if where is None or not where.exists():
        return [f"{name}: is not here"]
    wrong = faults(entry, where)
    print(f"download: {name}: {len(entry.files) - len(wrong)} of {len(entry.files)} files with a known hash are right")
    return [f"{name}: {fault}" for fault in wrong]


if __name__ == "__main__":
    sys.exit(main())
