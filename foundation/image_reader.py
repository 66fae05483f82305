"""Image files of any format → upright sRGB pixels. Training, evaluation and the server read images only through this module."""

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
"""The formats of Pillow that hold pixels and nothing to execute: its EPS reader starts another program."""

_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation → the operation that turns the image upright (CIPA DC-008, table 6)."""

_MAX_PIXELS = 2 * 89_478_485
"""Pillow's own limit, above which it takes an image for a decompression bomb."""

_SIXTEEN_BIT_MODES = ("I;16", "I;16B", "I;16L", "I;16N")
_THIRTY_TWO_BIT_MODES = ("I", "F")
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_PIXEL_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_PNG_COLOUR_CHUNKS = (b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"eXIf")
"""Chunks that say which colours the pixels mean, and which side is up."""


@dataclass(frozen=True)
class OpenedImage:
    """An RGB image without any metadata, and notes on its conversion that the user should know of."""

    image: Image.Image
    notes: tuple[str, ...] = ()


class BadImage(BadInput):
    """An image that cannot be used; ``reason`` says why, as a sentence without the ``path``."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = path, reason


def open_image(path: Path, background: str = "white") -> OpenedImage:
    """Open the first frame, upright, in sRGB, transparency composited over ``background`` (a colour name of Pillow or #hex).

    Of the metadata only the orientation and the colour profile are read, so that no odd tag makes an intact image unreadable,
    and none is passed on. Raises ``BadImage`` for a file that is empty, not an image, damaged, of 32 bits per channel, or so
    large that it can only be a decompression bomb.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadImage(path, f"cannot be read ({error.strerror}).") from None
    if not data:
        raise BadImage(path, "the file is empty.")
    try:
        return _to_opened_image(data, path, background)
    except UnidentifiedImageError:
        raise BadImage(path, f"not an image, whatever its name says{_content_hint(data)}.") from None
    except Image.DecompressionBombError:
        raise BadImage(path, "so many pixels that it is taken for a decompression bomb.") from None
    except (BadImage, MemoryError):
        raise
    except Exception as error:  # each format's decoder raises exceptions of its own
        raise BadImage(path, f"cannot be decoded completely ({error}).") from None


def _to_opened_image(data: bytes, path: Path, background: str) -> OpenedImage:
    image, notes = _decode(data)
    if image.mode in _THIRTY_TWO_BIT_MODES:
        raise BadImage(path, "32 bits per channel, for which white is not defined; save it with 8 or 16 bits.")
    image, colour_notes = _to_srgb(image, background)
    # Pillow would write this metadata into the next file: the location of a phone, a profile that no longer applies.
    image.info = {}
    return OpenedImage(image, notes + colour_notes)


def _decode(data: bytes) -> tuple[Image.Image, tuple[str, ...]]:
    """Return the first frame, upright, in the mode it was saved in, and notes."""
    if starts_as_jxl(data[:64]):
        return _decode_jxl(data)
    if starts_as_heif(data[:64]):
        return _decode_heif(data), ()
    try:
        return _decode_with_pillow(data)
    except (ValueError, SyntaxError, OSError):
        # An overlong text or a wrong checksum of metadata says nothing about the pixels, which may be intact.
        if not is_png(data):
            raise
        try:
            return _decode_with_pillow(_png_with_chunks(data, _PNG_PIXEL_CHUNKS + _PNG_COLOUR_CHUNKS))
        except (ValueError, SyntaxError, OSError):
            return _decode_with_pillow(_png_with_chunks(data, _PNG_PIXEL_CHUNKS))


def _decode_with_pillow(data: bytes) -> tuple[Image.Image, tuple[str, ...]]:
    with contextlib.ExitStack() as stack:
        # Pillow warns of odd tags, and of images over 89 megapixels, which scans can be; it refuses twice that size by itself.
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        image = stack.enter_context(Image.open(io.BytesIO(data), formats=_FORMATS))
        frames = getattr(image, "n_frames", 1)
        image.load()
        transpose = _UPRIGHT.get(_orientation(image) or 1)
        # What a phone stores behind a photo (its depth map, a video) is not an animation.
        is_animated = frames > 1 and image.format != "MPO"
        upright = image.transpose(transpose) if transpose is not None else image.copy()
        return upright, _animation_note(frames) if is_animated else ()


def _orientation(image: Image.Image) -> int | None:
    """Return the EXIF orientation; None where there is none that can be read."""
    with contextlib.suppress(Exception):  # whatever is wrong with a tag, the pixels are intact
        value = image.getexif().get(_ORIENTATION)
        return value if isinstance(value, int) else None
    return None


def _decode_heif(data: bytes) -> Image.Image:
    """Decode a HEIC or HEIF image; the decoder itself turns it upright."""
    import pi_heif

    file = pi_heif.open_heif(io.BytesIO(data))
    _check_not_a_bomb(file.size[0] * file.size[1])
    image: Image.Image = file.to_pillow()
    return image


def _decode_jxl(data: bytes) -> tuple[Image.Image, tuple[str, ...]]:
    """Decode a JPEG XL image; the decoder itself turns it upright."""
    _check_not_a_bomb(jxl.count_pixels(data))
    pixels, frames = jxl.decode(data)
    if pixels.dtype == np.uint16:
        pixels = _round_to_eight_bits(pixels)
    if pixels.dtype != np.uint8:
        raise ValueError(f"{pixels.dtype} per channel, for which white is not defined")
    return Image.fromarray(pixels), (jxl.PROFILE_NOTE, *_animation_note(frames))


def _animation_note(frames: int) -> tuple[str, ...]:
    return (f"animated: the first of its {frames} frames is used",) if frames > 1 else ()


def _check_not_a_bomb(pixels: int) -> None:
    """Apply Pillow's limit to the formats that other libraries decode."""
    if pixels > _MAX_PIXELS:
        raise Image.DecompressionBombError


def is_png(data: bytes) -> bool:
    """Return whether a file begins as a PNG does."""
    return data.startswith(_PNG_SIGNATURE)


def without_pixels(data: bytes) -> bytes:
    """Return a PNG file without its pixel data, so that its texts, also those after the pixels, are read without decoding."""
    chunks = [chunk for chunk in _png_chunks(data) if chunk.kind not in (b"IDAT", b"IEND")]
    ends = [_chunk(kind, b"") for kind in (b"IDAT", b"IEND")]
    return b"".join([_PNG_SIGNATURE, *(chunk.encoded for chunk in chunks), *ends])


def _png_with_chunks(data: bytes, kinds: tuple[bytes, ...]) -> bytes:
    """Return a PNG file with only the intact chunks of these ``kinds``; a wrong checksum of the pixels is an error."""
    parts = [_PNG_SIGNATURE]
    for chunk in _png_chunks(data):
        is_intact = zlib.crc32(chunk.kind + chunk.body) == chunk.checksum
        if chunk.kind in _PNG_PIXEL_CHUNKS and not is_intact:
            raise ValueError("its pixels are damaged")
        if chunk.kind in kinds and is_intact:
            parts.append(chunk.encoded)
    return b"".join(parts)


@dataclass(frozen=True)
class _PngChunk:
    kind: bytes
    body: bytes
    checksum: int

    @property
    def encoded(self) -> bytes:
        return len(self.body).to_bytes(4, "big") + self.kind + self.body + self.checksum.to_bytes(4, "big")


def _chunk(kind: bytes, body: bytes) -> bytes:
    return _PngChunk(kind, body, zlib.crc32(kind + body)).encoded


def _png_chunks(data: bytes) -> Iterator[_PngChunk]:
    """Yield each chunk (https://www.w3.org/TR/png-3/#5Chunk-layout)."""
    offset = len(_PNG_SIGNATURE)
    while offset + 12 <= len(data):
        length = int.from_bytes(data[offset : offset + 4], "big")
        checksum = int.from_bytes(data[offset + 8 + length : offset + 12 + length], "big")
        yield _PngChunk(data[offset + 4 : offset + 8], data[offset + 8 : offset + 8 + length], checksum)
        offset += 12 + length


def _to_srgb(image: Image.Image, background: str) -> tuple[Image.Image, tuple[str, ...]]:
    profile, notes = image.info.get("icc_profile"), tuple[str, ...]()
    image = _to_eight_bits(image)
    if image.mode == "CMYK" and not profile:
        notes = ("CMYK without a colour profile: its colours are a guess",)
    if profile:
        try:
            image = _apply_profile(image, profile)
        except Exception:  # a profile is metadata too, and broken in as many ways as there are programs
            notes = ("its colour profile cannot be used and is ignored",)
    return _composite(image, background), notes


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Scale 16-bit grey to 8 bits, where Pillow's own conversion would clip everything over 255 to white; resolve palettes."""
    if image.mode in _SIXTEEN_BIT_MODES:
        return Image.fromarray(_round_to_eight_bits(np.asarray(image)))
    if image.mode in ("P", "PA", "1"):
        return image.convert("RGBA" if image.has_transparency_data else "RGB")
    return image


def _round_to_eight_bits(values: np.ndarray) -> np.ndarray:
    # 257 is 65535 / 255.
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _apply_profile(image: Image.Image, profile: bytes) -> Image.Image:
    """Convert the image's colours to sRGB; its transparency stays."""
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


def _composite(image: Image.Image, background: str) -> Image.Image:
    """Return the image in RGB over ``background``: the colours under transparency were never meant to be seen."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    foreground = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", foreground.size, background), foreground).convert("RGB")


def _content_hint(data: bytes) -> str:
    """Return a clause that says what a file that is not an image contains, where that is recognized."""
    start = data[:200].lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return ": it is a web page"
    if start.startswith(b"version https://git-lfs"):
        return ": it is a Git LFS pointer (run `git lfs pull`)"
    return ""
