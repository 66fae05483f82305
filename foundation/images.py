"""Image files of any format → upright sRGB pixels. Training, evaluation and the server read images here and nowhere else."""

import contextlib
import io
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from foundation import jxl
from foundation.errors import BadInput
from foundation.image_files import starts_as_heif, starts_as_jxl

_FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "BMP", "DIB", "TIFF", "GIF", "JPEG2000", "QOI")
"""Of Pillow's those that hold pixels and nothing to run: its EPS reader starts another program."""

_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF's orientation → what brings the image upright (CIPA DC-008, table 6)."""

_MOST_PIXELS = 2 * 89_478_485
"""Pillow's own bound, above which it takes an image for a decompression bomb."""

_SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I;16N")
_THIRTY_TWO_BITS = ("I", "F")
_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_PNG_MEANING = (b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"eXIf")
"""Chunks that say which colours the pixels mean, and which side is up."""


@dataclass(frozen=True)
class OpenedImage:
    """An image in RGB without any metadata, and what the user should know of how it got there."""

    image: Image.Image
    notes: tuple[str, ...] = ()


class BadImage(BadInput):
    """An image that cannot be used; ``reason`` says why, a sentence without the ``path``."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = path, reason


def open_image(path: Path, background: str = "white") -> OpenedImage:
    """Open the first frame, upright, in sRGB, transparent parts over ``background`` (any colour Pillow knows by name or #hex).

    Metadata is not looked at, but for the orientation and the colour profile, so that no odd tag makes a sound image unreadable,
    and none goes along. Raises ``BadImage`` for a file that is empty, no image, not whole, of 32 bits a channel, or with more
    pixels than anything but a decompression bomb has.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadImage(path, f"cannot be read ({error.strerror}).") from None
    if not data:
        raise BadImage(path, "the file is empty.")
    try:
        return _opened(data, path, background)
    except UnidentifiedImageError:
        raise BadImage(path, f"not an image, whatever its name says{_what_it_is(data)}.") from None
    except Image.DecompressionBombError:
        raise BadImage(path, "more pixels than an image has in good faith.") from None
    except (BadImage, MemoryError):
        raise
    except Exception as error:  # each format's decoder has exceptions of its own
        raise BadImage(path, f"cannot be read whole ({error}).") from None


def _opened(data: bytes, path: Path, background: str) -> OpenedImage:
    image, notes = _decoded(data)
    if image.mode in _THIRTY_TWO_BITS:
        raise BadImage(path, "32 bits a channel, whose white is not defined; save it with 8 or 16 bits.")
    image, told = _in_srgb(image, background)
    # Pillow would write what is left in it into the next file: where a phone was, a profile that does not hold any more.
    image.info = {}
    return OpenedImage(image, notes + told)


def _decoded(data: bytes) -> tuple[Image.Image, tuple[str, ...]]:
    """The first frame, upright, in the mode it was saved in."""
    if starts_as_jxl(data[:64]):
        return _decoded_jxl(data)
    if starts_as_heif(data[:64]):
        return _decoded_heif(data), ()
    try:
        return _decoded_by_pillow(data)
    except (ValueError, SyntaxError, OSError):
        # A text that is too long or a checksum that is wrong says nothing of the pixels, where those are sound.
        if not is_png(data):
            raise
        try:
            return _decoded_by_pillow(_png_of(data, _PNG_PIXELS + _PNG_MEANING))
        except (ValueError, SyntaxError, OSError):
            return _decoded_by_pillow(_png_of(data, _PNG_PIXELS))


def _decoded_by_pillow(data: bytes) -> tuple[Image.Image, tuple[str, ...]]:
    with contextlib.ExitStack() as stack:
        # Pillow warns of odd tags, and of images over 89 megapixels, which scans are; twice that it refuses, which bombs are.
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        image = stack.enter_context(Image.open(io.BytesIO(data), formats=_FORMATS))
        frames = getattr(image, "n_frames", 1)
        image.load()
        turn = _TURNS.get(_orientation(image) or 1)
        # What a phone keeps behind a photo, its depth or a film, is no animation.
        is_animated = frames > 1 and image.format != "MPO"
        upright = image.transpose(turn) if turn is not None else image.copy()
        return upright, _animated(frames) if is_animated else ()


def _orientation(image: Image.Image) -> int | None:
    """EXIF's orientation; None where it has none that can be read."""
    with contextlib.suppress(Exception):  # whatever is wrong with a tag, the pixels are not
        value = image.getexif().get(_ORIENTATION)
        return value if isinstance(value, int) else None
    return None


def _decoded_heif(data: bytes) -> Image.Image:
    """A HEIC or HEIF image. The decoder turns it upright by itself."""
    import pi_heif

    file = pi_heif.open_heif(io.BytesIO(data))
    _check_not_a_bomb(file.size[0] * file.size[1])
    image: Image.Image = file.to_pillow()
    return image


def _decoded_jxl(data: bytes) -> tuple[Image.Image, tuple[str, ...]]:
    """A JPEG XL image. The decoder turns it upright by itself."""
    _check_not_a_bomb(jxl.count_pixels(data))
    pixels, frames = jxl.decode(data)
    if pixels.dtype == np.uint16:
        pixels = _rounded_to_eight_bits(pixels)
    if pixels.dtype != np.uint8:
        raise ValueError(f"{pixels.dtype} a channel, whose white is not defined")
    return Image.fromarray(pixels), (jxl.NOT_READ, *_animated(frames))


def _animated(frames: int) -> tuple[str, ...]:
    return (f"animated: the first of its {frames} frames is used",) if frames > 1 else ()


def _check_not_a_bomb(pixels: int) -> None:
    """As Pillow does, for the formats that others decode."""
    if pixels > _MOST_PIXELS:
        raise Image.DecompressionBombError


def is_png(data: bytes) -> bool:
    """Whether a file begins as a PNG does."""
    return data.startswith(_PNG_START)


def without_pixels(data: bytes) -> bytes:
    """A PNG file's chunks but for its pixels, so that its texts can be read, also those behind them, and nothing is decoded."""
    chunks = [chunk for chunk in _png_chunks(data) if chunk.kind not in (b"IDAT", b"IEND")]
    ends = [_chunk(kind, b"") for kind in (b"IDAT", b"IEND")]
    return b"".join([_PNG_START, *(chunk.whole for chunk in chunks), *ends])


def _png_of(data: bytes, kinds: tuple[bytes, ...]) -> bytes:
    """A PNG file with the sound chunks of some ``kinds`` and no other; pixels whose checksum is wrong are an error."""
    kept = [_PNG_START]
    for chunk in _png_chunks(data):
        is_sound = zlib.crc32(chunk.kind + chunk.body) == chunk.checksum
        if chunk.kind in _PNG_PIXELS and not is_sound:
            raise ValueError("its pixels are damaged")
        if chunk.kind in kinds and is_sound:
            kept.append(chunk.whole)
    return b"".join(kept)


@dataclass(frozen=True)
class _PngChunk:
    kind: bytes
    body: bytes
    checksum: int

    @property
    def whole(self) -> bytes:
        return len(self.body).to_bytes(4, "big") + self.kind + self.body + self.checksum.to_bytes(4, "big")


def _chunk(kind: bytes, body: bytes) -> bytes:
    return _PngChunk(kind, body, zlib.crc32(kind + body)).whole


def _png_chunks(data: bytes) -> Iterator[_PngChunk]:
    """Each chunk (https://www.w3.org/TR/png-3/#5Chunk-layout)."""
    place = len(_PNG_START)
    while place + 12 <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        checksum = int.from_bytes(data[place + 8 + length : place + 12 + length], "big")
        yield _PngChunk(data[place + 4 : place + 8], data[place + 8 : place + 8 + length], checksum)
        place += 12 + length


def _in_srgb(image: Image.Image, background: str) -> tuple[Image.Image, tuple[str, ...]]:
    profile, notes = image.info.get("icc_profile"), tuple[str, ...]()
    image = _eight_bits(image)
    if image.mode == "CMYK" and not profile:
        notes = ("CMYK without a colour profile: its colours are a guess",)
    if profile:
        try:
            image = _through_profile(image, profile)
        except Exception:  # a profile is metadata too, and broken in as many ways as there are programs
            notes = ("its colour profile cannot be used and is ignored",)
    return _over(image, background), notes


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit grey scaled to 8 bits, where Pillow's own conversion would cut everything over 255 to white; palettes resolved."""
    if image.mode in _SIXTEEN_BITS:
        return Image.fromarray(_rounded_to_eight_bits(np.asarray(image)))
    if image.mode in ("P", "PA", "1"):
        return image.convert("RGBA" if image.has_transparency_data else "RGB")
    return image


def _rounded_to_eight_bits(values: np.ndarray) -> np.ndarray:
    # 257 is 65535 / 255.
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _through_profile(image: Image.Image, profile: bytes) -> Image.Image:
    """The image's colours in sRGB; transparency is kept."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    if ImageCms.getProfileDescription(source).startswith("sRGB"):
        return image
    alpha = image.getchannel("A") if "A" in image.getbands() else None
    if alpha is not None:
        image = image.convert("L" if image.mode == "LA" else "RGB")
    converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert converted is not None
    if alpha is not None:
        converted.putalpha(alpha)
    return converted


def _over(image: Image.Image, background: str) -> Image.Image:
    """The image in RGB over ``background``: what lies below transparency was never meant to be seen."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    upright = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", upright.size, background), upright).convert("RGB")


def _what_it_is(data: bytes) -> str:
    """What a file that is no image holds, where that can be told."""
    start = data[:200].lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return ": it is a web page"
    if start.startswith(b"version https://git-lfs"):
        return ": it is a Git LFS pointer (run `git lfs pull`)"
    return ""
