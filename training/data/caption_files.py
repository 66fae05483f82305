"""Caption files: a sidecar file next to each image, one file for a folder, or a table for many images.

The sidecars of ``a.png`` are ``a.txt``, ``a.caption`` (kohya), ``a.png.txt`` and ``a.png.caption``, in upper or lower case.
``caption_tables`` reads the tables.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from foundation.image_files import is_junk
from training.data.caption_tables import TABLES, Captions, CaptionTable, read_text, tables_in

_SIDECARS = (".txt", ".caption")
_FOLDER_CAPTION_FILES = ("caption.txt", "captions.txt")


@dataclass(frozen=True)
class ImageCaptions:
    """The captions of an image and the file they come from; ``conflicting`` files have other captions and are not used."""

    captions: Captions
    file: Path
    conflicting: tuple[Path, ...] = ()


@dataclass
class CaptionFiles:
    """The caption files of ``images`` below ``root``.

    ``used`` grows with each call of ``find``: after the last image, a caption file that is not in it belongs to no image.
    """

    root: Path
    images: Sequence[Path]
    used: set[Path] = field(default_factory=set)
    _tables: dict[Path, list[CaptionTable]] = field(default_factory=dict)
    _files: dict[Path, Mapping[str, list[Path]]] = field(default_factory=dict)

    def find(self, image: Path) -> ImageCaptions | None:
        """Return the captions of ``image``, or None if it has none.

        A sidecar file comes before a table in the image's folder or a folder above it, and a table before one file for the whole
        folder.
        """
        candidates = list(self._candidates(image))
        self.used |= {candidate.file for candidate in candidates}
        if not candidates:
            return self._folder_caption(image.parent)
        first = candidates[0]
        conflicting = tuple(candidate.file for candidate in candidates[1:] if candidate.captions != first.captions)
        return ImageCaptions(first.captions, first.file, conflicting)

    def unknown_rows(self) -> list[tuple[Path, str]]:
        """Return the tables with rows that match no image or several, each with the reason why these rows are not used."""
        unknown = [(table.path, table.unknown) for tables in self._tables.values() for table in tables if table.unknown]
        return [(path, f"{len(names)} of its names match no image here, or several, as {names[0]}") for path, names in unknown]

    def _candidates(self, image: Path) -> Iterator[ImageCaptions]:
        files = self._caption_files_in(image.parent)
        for name in (*(image.stem + suffix for suffix in _SIDECARS), *(image.name + suffix for suffix in _SIDECARS)):
            for file in files.get(name.lower(), ()):
                yield ImageCaptions(read_captions(file), file)
        for folder in _folder_and_parents(image.parent, self.root):
            for table in self._tables_in(folder):
                if image in table.captions:
                    yield ImageCaptions(table.captions[image], table.path)

    def _folder_caption(self, folder: Path) -> ImageCaptions | None:
        for name in _FOLDER_CAPTION_FILES:
            for file in self._caption_files_in(folder).get(name, ()):
                self.used.add(file)
                return ImageCaptions(read_captions(file), file)
        return None

    def _caption_files_in(self, folder: Path) -> Mapping[str, list[Path]]:
        """Map each lower-case name to the caption files in ``folder`` of that name, the one in lower case first."""
        if folder not in self._files:
            files: dict[str, list[Path]] = {}
            for path in sorted(folder.iterdir(), reverse=True):
                if path.suffix.lower() in _SIDECARS and not is_junk(path):
                    files.setdefault(path.name.lower(), []).append(path)
            self._files[folder] = files
        return self._files[folder]

    def _tables_in(self, folder: Path) -> list[CaptionTable]:
        if folder not in self._tables:
            self._tables[folder] = tables_in(folder, self.images)
        return self._tables[folder]


def read_captions(path: Path) -> Captions:
    """Return the captions in a file, one per line; ignore a byte-order mark, line endings, empty lines and repeated spaces."""
    lines = [" ".join(line.split()) for line in read_text(path).splitlines()]
    return tuple(line for line in lines if line) or ("",)


def is_caption_file(path: Path) -> bool:
    """Return whether ``path`` has the suffix of a caption file or table."""
    return path.suffix.lower() in (*_SIDECARS, *TABLES)


def _folder_and_parents(folder: Path, root: Path) -> Iterator[Path]:
    yield folder
    while folder != root and folder.parent != folder:
        folder = folder.parent
        yield folder
