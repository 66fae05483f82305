"""Captions as people and programs write them: a file beside each image, one for a folder, or a table of all.

Beside an image ``a.png`` are read ``a.txt``, ``a.caption`` (kohya), ``a.png.txt`` and ``a.png.caption``, in any capitals; tables
are those of ``caption_tables``.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from foundation.image_files import is_junk
from training.data.caption_tables import TABLES, Captions, CaptionTable, read_text, tables_in

_BESIDE = (".txt", ".caption")
_FOR_ALL = ("caption.txt", "captions.txt")


@dataclass(frozen=True)
class Found:
    """An image's captions and the file they stand in; ``others`` are files that say something else and are not used."""

    captions: Captions
    file: Path
    others: tuple[Path, ...] = ()


@dataclass
class CaptionFiles:
    """The caption files of ``images`` below ``root``. ``used`` grows as images are asked for: what is left belongs to none."""

    root: Path
    images: Sequence[Path]
    used: set[Path] = field(default_factory=set)
    _tables: dict[Path, list[CaptionTable]] = field(default_factory=dict)
    _beside: dict[Path, Mapping[str, list[Path]]] = field(default_factory=dict)

    def of(self, image: Path) -> Found | None:
        """The captions of ``image``; None where there are none.

        What stands beside the image comes before a table of its folder or of one around it, and that before one file for the
        whole folder.
        """
        found = list(self._candidates(image))
        self.used |= {each.file for each in found}
        if not found:
            return self._for_all(image.parent)
        first = found[0]
        others = tuple(each.file for each in found[1:] if each.captions != first.captions)
        return Found(first.captions, first.file, others)

    def unknown_rows(self) -> list[tuple[Path, str]]:
        """The tables that name images which are not there or not only one, each with a clause that says so."""
        rows = [(table.path, table.unknown) for tables in self._tables.values() for table in tables if table.unknown]
        return [(path, f"{len(names)} of its names are of no image here, or of several, as {names[0]}") for path, names in rows]

    def _candidates(self, image: Path) -> Iterator[Found]:
        files = self._files_beside(image.parent)
        for name in (*(image.stem + ending for ending in _BESIDE), *(image.name + ending for ending in _BESIDE)):
            for file in files.get(name.lower(), ()):
                yield Found(read_captions(file), file)
        for folder in _up_to(image.parent, self.root):
            for table in self._tables_in(folder):
                if image in table.captions:
                    yield Found(table.captions[image], table.path)

    def _for_all(self, folder: Path) -> Found | None:
        for name in _FOR_ALL:
            for file in self._files_beside(folder).get(name, ()):
                self.used.add(file)
                return Found(read_captions(file), file)
        return None

    def _files_beside(self, folder: Path) -> Mapping[str, list[Path]]:
        """Lower-case name → the caption files in ``folder`` of that name, that in small letters first."""
        if folder not in self._beside:
            files: dict[str, list[Path]] = {}
            for path in sorted(folder.iterdir(), reverse=True):
                if path.suffix.lower() in _BESIDE and not is_junk(path):
                    files.setdefault(path.name.lower(), []).append(path)
            self._beside[folder] = files
        return self._beside[folder]

    def _tables_in(self, folder: Path) -> list[CaptionTable]:
        if folder not in self._tables:
            self._tables[folder] = tables_in(folder, self.images)
        return self._tables[folder]


def read_captions(path: Path) -> Captions:
    """The captions in a file, a line each; byte-order mark, line ends, empty lines and runs of blanks do not matter."""
    lines = [" ".join(line.split()) for line in read_text(path).splitlines()]
    return tuple(line for line in lines if line) or ("",)


def is_caption_file(path: Path) -> bool:
    """Whether ``path`` has an ending of caption files or tables."""
    return path.suffix.lower() in (*_BESIDE, *TABLES)


def _up_to(folder: Path, root: Path) -> Iterator[Path]:
    yield folder
    while folder != root and folder.parent != folder:
        folder = folder.parent
        yield folder
