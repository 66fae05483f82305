"""Download models of the catalogue: ``python -m zthumb.scripts.download_models [NAME…]``."""

import argparse
import sys
from collections.abc import Mapping, Sequence

from foundation.errors import DONE, FAILED, BadInput, command
from foundation.plugins import suggestion
from zthumb.sources import catalogue
from zthumb.sources.catalogue import MODELS, CatalogueEntry, find_mismatches, local_path
from zthumb.sources.progress import bars
from zthumb.sources.resolve import Resolver


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Download, list or verify; exit code 0 success, 1 a file is missing or has another hash, 2 bad input."""
    arguments = _parser().parse_args(argv)
    selected = _select(arguments.names)
    if arguments.list:
        for name, entry in selected.items():
            print(_line(name, entry))
        return DONE
    if arguments.verify and not arguments.names:
        selected = {name: entry for name, entry in selected.items() if (path := local_path(entry)) and path.exists()}
    problems = [problem for name, entry in selected.items() for problem in _process(name, entry, fetch=not arguments.verify)]
    for problem in problems:
        print(f"download: {problem}", file=sys.stderr)
    return FAILED if problems else DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m zthumb.scripts.download_models",
        description="Download models of the catalogue into models/ and verify them; existing ones are not downloaded again. "
        "A gated one needs HF_TOKEN, and its licence accepted on its page. With HF_HUB_OFFLINE=1 nothing is downloaded.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="names of the catalogue, or any other reference (default: all)")
    parser.add_argument("--list", action="store_true", help="print the models and whether they are here, and do nothing else")
    parser.add_argument("--verify", action="store_true", help="only compare existing files with the catalogue's hashes")
    return parser


def _select(names: Sequence[str]) -> dict[str, CatalogueEntry]:
    """Return the entries of ``names``, all if there are none; another reference gets an entry of its own."""
    known = catalogue.entries()
    if not names:
        return known
    return {name: known.get(name) or _make_entry(name, known) for name in names}


def _make_entry(text: str, known: Mapping[str, CatalogueEntry]) -> CatalogueEntry:
    if "/" not in text and ":" not in text:
        raise BadInput(f"{text}: not in the catalogue. {suggestion(text, sorted(known))}")
    return CatalogueEntry(purpose="named on the command line", reference=text, licence="unknown")


def _line(name: str, entry: CatalogueEntry) -> str:
    path = local_path(entry)
    state = "here" if path is not None and path.exists() else "not here"
    size = f"{entry.size / 1e9:.2f} GB" if entry.size else "?"
    gate = ", gated" if entry.gated else ""
    return f"{name:24}{state:10}{size:>9}  {entry.licence}{gate}: {entry.purpose} ({entry.reference.partition('@')[0]})"


def _process(name: str, entry: CatalogueEntry, fetch: bool) -> list[str]:
    """Download or verify one model; return its problems."""
    path = local_path(entry)
    if fetch:
        with bars() as on_progress:
            path = Resolver(MODELS, watch=on_progress).path(name if name in catalogue.entries() else entry.reference)
        print(f"download: {name}: {path}")
        return []
    if path is None or not path.exists():
        return [f"{name}: is not here"]
    mismatches = find_mismatches(entry, path)
    print(f"download: {name}: {len(entry.files) - len(mismatches)} of {len(entry.files)} files with a known hash match it")
    return [f"{name}: {mismatch}" for mismatch in mismatches]


if __name__ == "__main__":
    sys.exit(main())
