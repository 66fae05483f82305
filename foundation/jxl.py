"""JPEG XL files → pixels, and how many there will be before any is decoded (ISO/IEC 18181-1 and -2)."""

from collections.abc import Iterator

import numpy as np

_CODESTREAM = b"\xff\x0a"
_LENGTHS = (9, 13, 18, 30)
"""Bits of a side's length, by the two bits before it."""

_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
"""Width ÷ height, by the three bits behind the height; 0 says that the width follows."""

NOT_READ = "JPEG XL, whose colour profile is not read: its colours are taken for sRGB"


def decode(data: bytes) -> tuple[np.ndarray, int]:
    """The first frame, upright, as an array (height, width[, channels]) of the file's own depth, and the number of frames."""
    import imagecodecs

    pixels = np.asarray(imagecodecs.jpegxl_decode(data))
    is_one = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[-1] in (1, 2, 3, 4))
    frames, first = (1, pixels) if is_one else (len(pixels), pixels[0])
    return (first[..., 0] if first.ndim == 3 and first.shape[-1] == 1 else first), frames


def count_pixels(data: bytes) -> int:
    """Width × height as the file's head says; ``ValueError`` where it has none."""
    bits = _bits(_codestream(data)[len(_CODESTREAM) :])
    is_small = bool(_number(bits, 1))
    height = _side(bits, is_small)
    ratio = _number(bits, 3)
    if ratio == 0:
        return height * _side(bits, is_small)
    above, below = _RATIOS[ratio]
    return height * (height * above // below)


def _codestream(data: bytes) -> bytes:
    """The first bytes of the image itself, which lies in a box of the container, in one piece or in several, or alone."""
    if data.startswith(_CODESTREAM):
        return data[:16]
    place = 0
    while place + 8 <= len(data):
        length, kind = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
        head = 16 if length == 1 else 8
        if length == 1:
            length = int.from_bytes(data[place + 8 : place + 16], "big")
        if kind in (b"jxlc", b"jxlp"):
            start = place + head + (4 if kind == b"jxlp" else 0)
            return data[start : start + 16]
        if length < head:
            break
        place += length
    raise ValueError("no image is in it")


def _side(bits: Iterator[int], is_small: bool) -> int:
    if is_small:
        return 8 * (_number(bits, 5) + 1)
    return _number(bits, _LENGTHS[_number(bits, 2)]) + 1


def _number(bits: Iterator[int], count: int) -> int:
    try:
        return sum(next(bits) << place for place in range(count))
    except (StopIteration, RuntimeError):
        raise ValueError("its head is cut off") from None


def _bits(data: bytes) -> Iterator[int]:
    """From the lowest bit of each byte up."""
    return (byte >> place & 1 for byte in data for place in range(8))
