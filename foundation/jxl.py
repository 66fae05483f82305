"""JPEG XL files → pixels, and the number of pixels before any is decoded (ISO/IEC 18181-1 and -2)."""

from collections.abc import Iterator

import numpy as np

_CODESTREAM = b"\xff\x0a"
_SIDE_BITS = (9, 13, 18, 30)
"""Number of bits of a side's length, by the two bits before it."""

_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
"""Width ÷ height, by the three bits after the height; 0 says that the width follows."""

PROFILE_NOTE = "JPEG XL, whose colour profile is not read: its colours are taken for sRGB"


def decode(data: bytes) -> tuple[np.ndarray, int]:
    """Return the first frame, upright, as an array (height, width[, channels]) of the file's own depth, and the frame count."""
    import imagecodecs

    pixels = np.asarray(imagecodecs.jpegxl_decode(data))
    is_single = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[-1] in (1, 2, 3, 4))
    frames, first = (1, pixels) if is_single else (len(pixels), pixels[0])
    return (first[..., 0] if first.ndim == 3 and first.shape[-1] == 1 else first), frames


def count_pixels(data: bytes) -> int:
    """Return width × height as the file's header states it; raise ``ValueError`` where there is no header."""
    bits = _bits(_codestream(data)[len(_CODESTREAM) :])
    is_small = bool(_number(bits, 1))
    height = _side(bits, is_small)
    ratio = _number(bits, 3)
    if ratio == 0:
        return height * _side(bits, is_small)
    numerator, denominator = _RATIOS[ratio]
    return height * (height * numerator // denominator)


def _codestream(data: bytes) -> bytes:
    """Return the first 16 bytes of the image itself: bare, or in a box of a container, whole or as the first of several parts."""
    if data.startswith(_CODESTREAM):
        return data[:16]
    offset = 0
    while offset + 8 <= len(data):
        length, kind = int.from_bytes(data[offset : offset + 4], "big"), data[offset + 4 : offset + 8]
        header = 16 if length == 1 else 8
        if length == 1:
            length = int.from_bytes(data[offset + 8 : offset + 16], "big")
        if kind in (b"jxlc", b"jxlp"):
            start = offset + header + (4 if kind == b"jxlp" else 0)
            return data[start : start + 16]
        if length < header:
            break
        offset += length
    raise ValueError("it contains no image")


def _side(bits: Iterator[int], is_small: bool) -> int:
    if is_small:
        return 8 * (_number(bits, 5) + 1)
    return _number(bits, _SIDE_BITS[_number(bits, 2)]) + 1


def _number(bits: Iterator[int], count: int) -> int:
    try:
        return sum(next(bits) << position for position in range(count))
    except (StopIteration, RuntimeError):
        raise ValueError("its header is truncated") from None


def _bits(data: bytes) -> Iterator[int]:
    """Yield the bits of each byte, lowest first."""
    return (byte >> position & 1 for byte in data for position in range(8))
