"""Data sets of a project as a page edits them: images with captions, one file at a time, and crops that can be undone."""

import contextlib
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import yaml

from foundation.errors import BadInput
from foundation.files import atomic_file, write_text
from foundation.image_files import ENDINGS, images_below, images_in
from foundation.image_reader import BadImage, open_image
from zthumb.server.queue.background_jobs import NotFound
from zthumb.server.runs.project import Project

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_FILE = re.compile(r"[\w][\w .()+,'-]{0,150}")
_RAW, _UNCROPPED = "raw", ".uncropped"
"""Where the images of a data set are, and beside them those that were cropped, as they were before."""

_SMALLEST_CROP = 16
_LONGEST_NAME = 200
"""Bytes: a file system takes 255, of which a caption or a file that is being written needs some."""


@dataclass(frozen=True)
class DatasetImage:
    """An image to train on: its path in the data set's raw folder and its caption. ``version`` changes when the file does."""

    file: str
    bytes: int
    version: str
    caption: str | None
    is_cropped: bool


class Datasets:
    """The data sets in the project's folder."""

    def __init__(self, project: Project) -> None:
        self._project = project

    def names(self) -> list[str]:
        """Return the names of all data sets."""
        folder = self._project.datasets
        found = [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
        return sorted(path.name for path in found if _NAME.fullmatch(path.name))

    def create(self, name: str, trigger: str) -> None:
        """Create an empty data set; raises ``BadInput`` if there is one of that name."""
        if not _NAME.fullmatch(name):
            raise BadInput(f"name: {name!r}: use letters, digits, '.', '-' and '_', and begin with a letter or digit.")
        if not trigger.strip() or len(trigger.split()) != 1 or len(trigger) < 2:
            raise BadInput(f"trigger: {trigger!r}: one word of at least two letters, which the captions use for the concept.")
        folder = self._project.datasets / name
        if folder.exists():
            raise BadInput(f"name: there is a data set {name!r} already.")
        (folder / _RAW).mkdir(parents=True)
        write_text(folder / "concept.yaml", yaml.safe_dump({"trigger": trigger}, allow_unicode=True))

    def trigger(self, name: str) -> str | None:
        """Return the trigger word in its concept.yaml; None if it has none, as data sets of other trainers."""
        path = self.folder(name) / "concept.yaml"
        with contextlib.suppress(OSError, yaml.YAMLError, UnicodeDecodeError):
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
            return str(values["trigger"]) if isinstance(values, dict) and "trigger" in values else None
        return None

    def folder(self, name: str) -> Path:
        """Return the folder of a data set; raises ``NotFound``."""
        if name not in self.names():
            raise NotFound(f"there is no data set {name!r}.")
        return self._project.datasets / name

    def images(self, name: str) -> list[DatasetImage]:
        """Return the images in its raw folder by path; ``BadInput`` if it is laid out otherwise, as those of other trainers."""
        raw = self._raw(name)
        return [self._image(raw, path) for path in images_below(raw)]

    def count(self, name: str) -> int:
        """Return how many images it has."""
        return len(images_below(self.folder(name) / _RAW))

    def path(self, name: str, file: str) -> Path:
        """Return the path of one of its images; raises ``NotFound``."""
        raw = self.folder(name) / _RAW
        known = {path.relative_to(raw).as_posix(): path for path in images_below(raw)}
        if file not in known:
            raise NotFound(f"the data set {name!r} has no image {file!r}.")
        return known[file]

    def add(self, name: str, file: str, data: bytes) -> DatasetImage:
        """Add an image that a page sends, or replace the one of its name; raises ``BadInput`` for what is none.

        An image is decoded once, so that one that cannot be used is refused at once and not when the training begins.
        """
        raw = self._raw(name)
        if not _FILE.fullmatch(file) or len(file.encode()) > _LONGEST_NAME:
            raise BadInput(f"{file}: is no name for a file here: letters, digits, spaces and . - _ ( ) + , '.")
        raw.mkdir(exist_ok=True)
        target = raw / file
        # Without one of these endings it would only be recognized by its content, and a caption would not be.
        if target.suffix.lower() not in ENDINGS:
            raise BadInput(f"{file}: is not called as an image is ({', '.join(ENDINGS)}).")
        same = [path for path in images_below(raw) if path.stem == target.stem and path != target]
        if same:
            raise BadInput(
                f"{file}: {same[0].name} is called the same but for its ending, and one caption cannot serve two images."
            )
        with atomic_file(target) as temporary:
            temporary.write_bytes(data)
            try:
                open_image(temporary)
            except BadImage as error:
                raise BadInput(f"{file}: {error.reason}") from None
        self._original(raw, target).unlink(missing_ok=True)
        return self._image(raw, target)

    def set_caption(self, name: str, file: str, caption: str) -> DatasetImage:
        """Write the caption of an image; an empty one removes its file."""
        path = self.path(name, file)
        text = path.with_suffix(".txt")
        if caption.strip():
            write_text(text, " ".join(caption.split()) + "\n" if "\n" not in caption else caption.strip() + "\n")
        else:
            text.unlink(missing_ok=True)
        return self._image(self.folder(name) / _RAW, path)

    def crop(self, name: str, file: str, box: tuple[int, int, int, int]) -> DatasetImage:
        """Crop an image to ``box`` (left, top, right, bottom) in pixels of the image as it is shown; the whole is kept beside.

        Raises ``BadInput`` for a box that is not inside the image, or too small.
        """
        path = self.path(name, file)
        raw = self.folder(name) / _RAW
        image = open_image(path).image
        left, top, right, bottom = box
        is_inside = left >= 0 and top >= 0 and right <= image.width and bottom <= image.height
        if not is_inside or right - left < _SMALLEST_CROP or bottom - top < _SMALLEST_CROP:
            raise BadInput(
                f"box: must be inside the image, {image.width} × {image.height}, and at least {_SMALLEST_CROP} px wide and high."
            )
        cropped = path.with_suffix(".png")
        if cropped != path and cropped.exists():
            raise BadInput(f"{file}: the cropped image would replace {cropped.name}. Rename one of them.")
        original = self._original(raw, path)
        if not original.exists():
            original.parent.mkdir(parents=True, exist_ok=True)
            with atomic_file(original) as temporary:
                shutil.copyfile(path, temporary)
        with atomic_file(cropped) as temporary:
            image.crop(box).save(temporary, "png")
        if cropped != path:
            path.unlink()
        return self._image(raw, cropped)

    def uncrop(self, name: str, file: str) -> DatasetImage:
        """Put the whole image back; raises ``NotFound`` if it was not cropped."""
        path = self.path(name, file)
        raw = self.folder(name) / _RAW
        original = self._original(raw, path)
        if not original.exists():
            raise NotFound(f"{file} was not cropped.")
        whole = raw / original.relative_to(raw.parent / _UNCROPPED)
        original.replace(whole)
        if whole != path:
            path.unlink()
        return self._image(raw, whole)

    def remove(self, name: str, file: str) -> None:
        """Remove an image, its caption and what it was before it was cropped."""
        path = self.path(name, file)
        self._original(self.folder(name) / _RAW, path).unlink(missing_ok=True)
        path.with_suffix(".txt").unlink(missing_ok=True)
        path.unlink()

    def preview(self, name: str) -> Path:
        """Return the picture of all images as they are trained on; raises ``NotFound`` before the preparation."""
        path = self.folder(name) / "preview.png"
        if not path.exists():
            raise NotFound(f"the data set {name!r} was not prepared yet.")
        return path

    def _raw(self, name: str) -> Path:
        """Return the folder of the images; ``BadInput`` if they are elsewhere: with a raw folder those would not be read."""
        folder = self.folder(name)
        if not (folder / _RAW).is_dir() and images_below(folder):
            raise BadInput(
                f"{name}: its images are not in {_RAW}/. It can be trained on as it is; to edit it here, move them there."
            )
        return folder / _RAW

    def _image(self, raw: Path, path: Path) -> DatasetImage:
        caption, status = path.with_suffix(".txt"), path.stat()
        return DatasetImage(
            file=path.relative_to(raw).as_posix(),
            bytes=status.st_size,
            version=f"{status.st_mtime_ns:x}-{status.st_size:x}",
            caption=caption.read_text(encoding="utf-8", errors="replace").strip() if caption.exists() else None,
            is_cropped=self._original(raw, path).exists(),
        )

    def _original(self, raw: Path, path: Path) -> Path:
        """Return where the whole image is kept, whatever its format was."""
        folder = raw.parent / _UNCROPPED / path.relative_to(raw).parent
        kept = [original for original in images_in(folder) if original.stem == path.stem]
        return kept[0] if kept else folder / path.name
