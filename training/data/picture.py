"""A picture file → upright sRGB pixels, whatever format, depth and colours it was saved in."""

import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from foundation.errors import BadInput

_SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I;16N")
_THIRTY_TWO_BITS = ("I", "F")


@dataclass(frozen=True)
class Opened:
    """A picture in RGB, and what the user should know of how it got there."""

    picture: Image.Image
    notes: tuple[str, ...] = ()


class BadPicture(BadInput):
    """A picture that cannot be used; ``reason`` says why without its path, ``others`` how many more there are."""

    def __init__(self, path: Path, reason: str, others: int = 0) -> None:
        more = f" {others} more cannot be used either." if others else ""
        super().__init__(f"{path}: {reason} Replace it, or run with --skip-bad to leave it out.{more}")
        self.path, self.reason = path, reason


def open_picture(path: Path, least: int = 1, background: str = "white") -> Opened:
    """Open the first frame, upright, in sRGB, transparent parts over ``background`` (any colour Pillow knows by name or #hex).

    Raises ``BadPicture`` for a file that is empty, no picture, not whole, of 32 bits, with a side of fewer than ``least`` pixels,
    or with more pixels than anything but a bomb has.
    """
    try:
        if path.stat().st_size == 0:
            raise BadPicture(path, "the file is empty.")
        with warnings.catch_warnings(), Image.open(path) as picture:
            # Pillow warns of pictures over 89 megapixels, which scans are, and refuses twice that, which only bombs are.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            _check(picture, path, least)
            frames = getattr(picture, "n_frames", 1)
            picture.load()
            upright = ImageOps.exif_transpose(picture)
            notes = (f"animated: the first of its {frames} frames is used",) if frames > 1 else ()
    except UnidentifiedImageError:
        raise BadPicture(path, "not a picture, whatever its name says.") from None
    except Image.DecompressionBombError:
        raise BadPicture(path, "more pixels than a picture has in good faith.") from None
    except (BadPicture, MemoryError):
        raise
    except Exception as error:  # each format's decoder has exceptions of its own
        raise BadPicture(path, f"cannot be read whole ({error}).") from None
    return _in_srgb(upright, background, notes)


def _check(picture: Image.Image, path: Path, least: int) -> None:
    if picture.mode in _THIRTY_TWO_BITS:
        raise BadPicture(path, "32 bits a channel, whose white is not defined; save it with 8 or 16 bits.")
    if min(picture.size) < least:
        raise BadPicture(path, f"only {picture.width} × {picture.height} pixels; at least {least} × {least} are needed.")


def _in_srgb(picture: Image.Image, background: str, notes: tuple[str, ...]) -> Opened:
    profile = picture.info.get("icc_profile")
    picture = _eight_bits(picture)
    if picture.mode == "CMYK" and not profile:
        notes += ("CMYK without a colour profile: its colours are a guess",)
    if profile:
        try:
            picture = _through_profile(picture, profile)
        except (ImageCms.PyCMSError, OSError):
            notes += ("its colour profile cannot be used and is ignored",)
    return Opened(_over(picture, background), notes)


def _eight_bits(picture: Image.Image) -> Image.Image:
    """16-bit grey scaled to 8 bits, where Pillow's own conversion would cut everything over 255 to white; palettes resolved."""
    if picture.mode in _SIXTEEN_BITS:
        # To the nearest: 257 is 65535 / 255.
        return Image.fromarray(((np.asarray(picture).astype(np.uint32) + 128) // 257).astype(np.uint8))
    if picture.mode in ("P", "PA", "1"):
        return picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    return picture


def _through_profile(picture: Image.Image, profile: bytes) -> Image.Image:
    """The picture's colours in sRGB; transparency is kept."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    if ImageCms.getProfileDescription(source).startswith("sRGB"):
        return picture
    alpha = picture.getchannel("A") if "A" in picture.getbands() else None
    if alpha is not None:
        picture = picture.convert("L" if picture.mode == "LA" else "RGB")
    converted = ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert converted is not None
    if alpha is not None:
        converted.putalpha(alpha)
    return converted


def _over(picture: Image.Image, background: str) -> Image.Image:
    """The picture in RGB over ``background``: what lies below transparency was never meant to be seen."""
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    upright = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", upright.size, background), upright).convert("RGB")
