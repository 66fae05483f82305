"""Whatever format an image was saved in, it is read with the colours and the orientation its owner saw."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from foundation import jxl
from foundation.errors import BadInput
from foundation.image_files import is_image_file, list_non_images
from foundation.image_reader import BadImage, open_image

RED, BLUE = (255, 0, 0), (0, 0, 255)


def _pixel(path: Path, position: tuple[int, int] = (0, 0), background: str = "white") -> tuple[int, ...]:
    opened = open_image(path, background=background).image
    assert opened.mode == "RGB"
    value = opened.getpixel(position)
    assert isinstance(value, tuple)
    return value


def _swapped_profile() -> bytes:
    """Return the sRGB profile with its red and blue primaries exchanged."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = struct.unpack_from(">I", profile, 128)[0]
    entries = {bytes(profile[offset : offset + 4]): offset for offset in range(132, 132 + 12 * count, 12)}
    red, blue, name = entries[b"rXYZ"], entries[b"bXYZ"], entries[b"desc"]
    profile[red : red + 4], profile[blue : blue + 4] = b"bXYZ", b"rXYZ"
    # Its description must not say sRGB any more.
    start, length = struct.unpack_from(">II", profile, name + 4)
    profile[start : start + length] = (
        bytes(profile[start : start + length]).replace(b"s\0R\0G\0B", b"q\0R\0G\0B").replace(b"sRGB", b"qRGB")
    )
    return bytes(profile)


def test_an_image_with_an_exif_orientation_is_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees clockwise
    sideways = Image.new("RGB", (40, 20), BLUE)
    sideways.paste(RED, (0, 0, 20, 20))
    sideways.save(tmp_path / "a.png", exif=exif)

    opened = open_image(tmp_path / "a.png").image

    assert opened.size == (20, 40)
    assert opened.getpixel((10, 5)) == RED
    assert opened.getpixel((10, 35)) == BLUE


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_colour_profile_is_applied(tmp_path: Path, mode: str) -> None:
    Image.new("RGB", (8, 8), RED).convert(mode).save(tmp_path / "a.png", icc_profile=_swapped_profile())

    red, green, blue = _pixel(tmp_path / "a.png")

    assert max(red, green) <= 4
    assert blue >= 250


def test_an_srgb_profile_changes_nothing(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png", icc_profile=profile)

    assert np.array_equal(np.asarray(open_image(tmp_path / "a.png").image), pixels)


def test_a_broken_profile_is_ignored_with_a_note(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), RED).save(tmp_path / "a.png", icc_profile=b"no profile at all")

    opened = open_image(tmp_path / "a.png")

    assert opened.image.getpixel((0, 0)) == RED
    assert opened.notes == ("its colour profile cannot be used and is ignored",)


@pytest.mark.parametrize(("mode", "transparent"), [("RGBA", (*RED, 0)), ("LA", (7, 0))])
def test_transparent_parts_take_the_background(tmp_path: Path, mode: str, transparent: tuple[int, ...]) -> None:
    Image.new(mode, (8, 8), transparent).save(tmp_path / "a.png")

    assert _pixel(tmp_path / "a.png") == (255, 255, 255)
    assert _pixel(tmp_path / "a.png", background="#0000ff") == BLUE


def test_a_palette_with_a_transparent_colour_is_resolved(tmp_path: Path) -> None:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([*RED, *BLUE])
    image.putpixel((0, 0), 0)
    image.save(tmp_path / "a.png", transparency=0)

    assert _pixel(tmp_path / "a.png") == (255, 255, 255)
    assert _pixel(tmp_path / "a.png", (4, 4)) == BLUE


@pytest.mark.parametrize("extension", ["png", "tiff"])
def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path: Path, extension: str) -> None:
    values = np.array([[0, 32896, 65535, 257]], np.uint16)
    Image.fromarray(values).save(tmp_path / f"a.{extension}")

    opened = np.asarray(open_image(tmp_path / f"a.{extension}").image)

    assert opened[0, :, 0].tolist() == [0, 128, 255, 1]


def test_cmyk_is_converted_with_a_note_that_its_colours_are_a_guess(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a.tiff")

    opened = open_image(tmp_path / "a.tiff")

    assert opened.image.getpixel((0, 0)) == RED
    assert "CMYK" in opened.notes[0]


@pytest.mark.parametrize("extension", ["gif", "webp", "png"])
def test_of_an_animation_the_first_frame_is_used_with_a_note(tmp_path: Path, extension: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, BLUE, BLUE)]
    path = tmp_path / f"a.{extension}"
    options = {"lossless": True} if extension == "webp" else {}
    frames[0].save(path, save_all=True, append_images=frames[1:], **options)

    opened = open_image(path)

    red, _, blue = _pixel(path)
    assert red > 250
    assert blue < 5
    assert "animated" in opened.notes[0]


@pytest.mark.parametrize("extension", ["webp", "avif", "tiff", "bmp", "jpg"])
def test_common_formats_open(tmp_path: Path, extension: str) -> None:
    Image.new("RGB", (32, 32), RED).save(tmp_path / f"a.{extension}", quality=95)

    assert np.allclose(_pixel(tmp_path / f"a.{extension}", (16, 16)), RED, atol=6)


@pytest.mark.parametrize("extension", ["webp", "avif", "tiff", "jpg", "png"])
def test_a_damaged_image_opens_or_is_named_in_the_error(tmp_path: Path, extension: str) -> None:
    """Each decoder raises exceptions of its own; none may reach the user without the file's name."""
    rng = np.random.default_rng(1)
    Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)).save(tmp_path / f"a.{extension}")
    intact = (tmp_path / f"a.{extension}").read_bytes()
    messages = []
    for _ in range(200):
        start, count = int(rng.integers(16, len(intact) - 400)), int(rng.integers(1, 400))
        (tmp_path / f"a.{extension}").write_bytes(intact[:start] + rng.bytes(count) + intact[start + count :])
        try:
            open_image(tmp_path / f"a.{extension}")
        except BadInput as error:
            messages.append(str(error))
    assert all(f"a.{extension}: " in message for message in messages)


def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    Image.new("1", (100, 100)).save(tmp_path / "a.png")

    with pytest.raises(BadInput, match=r"a\.png: so many pixels"):
        open_image(tmp_path / "a.png")


def test_thirty_two_bits_per_channel_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "a.tiff")

    with pytest.raises(BadInput, match=r"a\.tiff: 32 bits"):
        open_image(tmp_path / "a.tiff")


SAMPLES = Path(__file__).parent / "samples"


@pytest.mark.parametrize("name", ["a.heic", "a.jpg", "a"])
def test_a_phone_photo_is_read_by_its_content_whatever_its_extension(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes((SAMPLES / "phone.heic").read_bytes())

    opened = open_image(tmp_path / name).image

    assert is_image_file(tmp_path / name)
    assert opened.size == (32, 64)
    top, bottom = opened.getpixel((16, 8)), opened.getpixel((16, 56))
    assert isinstance(top, tuple)
    assert isinstance(bottom, tuple)
    assert top[0] > 150 > top[2]
    assert bottom[2] > 150 > bottom[0]


@pytest.mark.parametrize("kind", ["rgb", "grey", "sixteen bits"])
def test_jpeg_xl_is_read(tmp_path: Path, kind: str) -> None:
    import imagecodecs

    pixels = np.full((20, 30) if kind == "grey" else (20, 30, 3), 51, np.uint8)
    (tmp_path / "a.jxl").write_bytes(
        imagecodecs.jpegxl_encode(pixels.astype(np.uint16) * 257 if kind == "sixteen bits" else pixels)
    )

    opened = np.asarray(open_image(tmp_path / "a.jxl").image).astype(int)

    assert opened.shape == (20, 30, 3)
    assert np.abs(opened - 51).max() <= 2


def test_of_an_animated_jpeg_xl_the_first_frame_is_used_with_a_note(tmp_path: Path) -> None:
    import imagecodecs

    frames = np.stack([np.full((20, 30, 3), value, np.uint8) for value in (51, 200, 250)])
    (tmp_path / "a.jxl").write_bytes(imagecodecs.jpegxl_encode(frames))

    opened = open_image(tmp_path / "a.jxl")

    assert np.abs(np.asarray(opened.image).astype(int) - 51).max() <= 2
    assert "animated: the first of its 3 frames is used" in opened.notes


def test_a_jpeg_xl_whose_header_states_a_huge_size_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    # Not small, a side of 30 bits, as wide as high.
    header = 0b110 | (99_999 << 3) | (1 << 33)
    (tmp_path / "a.jxl").write_bytes(b"\xff\x0a" + header.to_bytes(8, "little"))

    with pytest.raises(BadImage, match="taken for a decompression bomb"):
        open_image(tmp_path / "a.jxl")


def test_a_heic_with_too_many_pixels_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foundation.image_reader._MAX_PIXELS", 32 * 64 - 1)

    with pytest.raises(BadImage, match="taken for a decompression bomb"):
        open_image(SAMPLES / "phone.heic")


@pytest.mark.parametrize("container", [False, True])
@given(height=st.integers(1, 300), width=st.integers(1, 300))
@settings(max_examples=25, deadline=None)
def test_the_size_of_a_jpeg_xl_is_read_from_its_header(container: bool, height: int, width: int) -> None:
    import imagecodecs

    data = imagecodecs.jpegxl_encode(np.zeros((height, width, 3), np.uint8), effort=1, usecontainer=container)

    assert jxl.count_pixels(data) == height * width


@pytest.mark.parametrize("name", ["a.jfif", "a.jpe", "a.JPG", "a", "a.unknown"])
def test_an_image_with_an_unknown_extension_is_recognized_by_its_content(tmp_path: Path, name: str) -> None:
    Image.new("RGB", (8, 8), RED).save(tmp_path / name, "jpeg")

    assert is_image_file(tmp_path / name)


def test_files_left_by_operating_systems_and_archivers_are_listed_as_not_images(tmp_path: Path) -> None:
    for name in (".DS_Store", "._a.png", "Thumbs.db", "desktop.ini"):
        (tmp_path / name).write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "__MACOSX").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")

    assert [entry.path.name for entry in list_non_images(tmp_path)] == [
        ".DS_Store",
        "._a.png",
        "Thumbs.db",
        "__MACOSX",
        "desktop.ini",
    ]


def _odd_exif(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x9286] = b"\xff\xfe broken comment"
    data = bytearray(exif.tobytes())
    # A tag whose value is past the end of the block.
    data[-8:] = b"\xff" * 8
    Image.new("RGB", (40, 20), RED).save(path, "jpeg", exif=bytes(data))


def _long_text(path: Path) -> None:
    metadata = PngInfo()
    metadata.add_text("workflow", "x" * (2 * 2**20), zip=True)
    Image.new("RGB", (40, 20), RED).save(path, "png", pnginfo=metadata)


def _wrong_text_checksum(path: Path) -> None:
    metadata = PngInfo()
    metadata.add_text("parameters", "a red star")
    Image.new("RGB", (40, 20), RED).save(path, "png", pnginfo=metadata)
    path.write_bytes(path.read_bytes().replace(b"a red star", b"a red stor"))


def _broken_profile(path: Path) -> None:
    Image.new("RGB", (40, 20), RED).save(path, "png", icc_profile=b"no profile at all")


@pytest.mark.parametrize("write_image", [_odd_exif, _long_text, _wrong_text_checksum, _broken_profile])
def test_an_intact_image_is_not_refused_for_its_metadata(tmp_path: Path, write_image: Callable[[Path], None]) -> None:
    write_image(tmp_path / "a")

    opened = open_image(tmp_path / "a").image

    assert sorted(opened.size) == [20, 40]
    assert opened.getpixel((10, 10)) in (RED, (254, 0, 0))


def test_no_metadata_is_copied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "a camera maker"
    Image.new("RGB", (8, 8), RED).save(tmp_path / "a.jpg", exif=exif, icc_profile=_swapped_profile(), comment=b"where it was")

    open_image(tmp_path / "a.jpg").image.save(tmp_path / "b.png")

    with Image.open(tmp_path / "b.png") as written:
        assert not written.info
        assert not written.getexif()


def test_damaged_pixels_are_refused_whatever_the_metadata(tmp_path: Path) -> None:
    Image.effect_noise((64, 64), 80).save(tmp_path / "a.png")
    data = bytearray((tmp_path / "a.png").read_bytes())
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "a.png").write_bytes(bytes(data))

    with pytest.raises(BadInput, match=r"a\.png: cannot be decoded completely"):
        open_image(tmp_path / "a.png")


def test_a_web_page_is_recognized_in_the_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("<!DOCTYPE html><html>not found</html>")

    with pytest.raises(BadInput, match="not an image, whatever its name says: it is a web page"):
        open_image(tmp_path / "a.png")


def test_a_text_that_cannot_be_read_costs_neither_colours_nor_orientation(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.new("RGB", (20, 40), (255, 0, 0))
    for name, text in (("plain", ""), ("long", "x" * 2**21)):
        chunks = PngInfo()
        if text:
            chunks.add_text("a", text, zip=True)
        image.save(tmp_path / f"{name}.png", icc_profile=_swapped_profile(), exif=exif, pnginfo=chunks)

    plain, long = (open_image(tmp_path / f"{name}.png") for name in ("plain", "long"))

    assert long.image.size == plain.image.size == (40, 20)
    assert long.image.getpixel((0, 0)) == plain.image.getpixel((0, 0))
