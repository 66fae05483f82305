"""Captions are found in the files of every common program."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.errors import BadInput
from training.data.caption_files import CaptionFiles, ImageCaptions, read_captions


def _find_captions(dataset: Path, image: str) -> ImageCaptions:
    captions = CaptionFiles(dataset, [dataset / image]).find(dataset / image)
    assert captions is not None
    return captions


@pytest.mark.parametrize("raw", [b"a red zbadge", b"\xef\xbb\xbfa red zbadge\r\n", b"  a\tred  zbadge \n\n"])
def test_byte_order_marks_line_endings_and_spaces_do_not_matter(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "a.txt").write_bytes(raw)

    assert read_captions(tmp_path / "a.txt") == ("a red zbadge",)


def test_each_line_is_a_caption_and_an_empty_file_is_an_empty_caption(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"a red\r\n\r\nzbadge\r\n")
    (tmp_path / "b.txt").write_bytes(b"\xef\xbb\xbf \r\n")

    assert read_captions(tmp_path / "a.txt") == ("a red", "zbadge")
    assert read_captions(tmp_path / "b.txt") == ("",)


def test_the_error_for_text_that_is_not_utf8_names_the_file_and_the_byte(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"caf\xe9")

    with pytest.raises(BadInput, match=r"a\.txt: not UTF-8 text \(byte 4\)"):
        read_captions(tmp_path / "a.txt")


@pytest.mark.parametrize("name", ["a.txt", "a.TXT", "a.caption", "a.png.txt", "a.PNG.Caption", "caption.txt"])
def test_a_caption_next_to_its_image_or_one_for_the_folder_is_found_by_every_common_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("a zbadge")

    result = _find_captions(tmp_path, "a.png")

    assert result.captions == ("a zbadge",)


_TABLES = {
    "metadata.jsonl": '{"file_name": "in/a.png", "text": "a zbadge"}\n\n{"file_name": "in/b.png", "text": "two"}\n',
    "metadata.csv": 'file_name,text\nin/a.png,a zbadge\nin/b.png,"two, of them"\n',
    "meta_cap.json": json.dumps({"/somewhere/else/in/a": {"caption": "a zbadge"}, "a": {"caption": "a zbadge"}}),
    "captions.json": json.dumps({"a.png": "a zbadge"}),
    "list.json": json.dumps([{"image": "in/a.png", "prompt": ["a zbadge"]}]),
}


@pytest.mark.parametrize("name", _TABLES)
@pytest.mark.parametrize("folder", [".", "in"])
def test_a_table_in_the_images_folder_or_a_folder_above_it_is_read(tmp_path: Path, name: str, folder: str) -> None:
    (tmp_path / "in").mkdir()
    text = _TABLES[name] if folder == "." else _TABLES[name].replace("in/", "")
    (tmp_path / folder / name).write_text(text)

    result = _find_captions(tmp_path, "in/a.png")

    assert (result.captions, result.file) == (("a zbadge",), tmp_path / folder / name)


def test_captions_and_tags_of_kohya_are_joined_as_kohya_does(tmp_path: Path) -> None:
    (tmp_path / "meta.json").write_text(json.dumps({"a": {"caption": "a zbadge", "tags": "red, shiny"}}))

    result = _find_captions(tmp_path, "a.png")

    assert result.captions == ("a zbadge, red, shiny",)


def test_tags_in_a_list_are_joined_too(tmp_path: Path) -> None:
    (tmp_path / "meta.json").write_text(json.dumps({"a": {"caption": ["a zbadge", "one"], "tags": ["red", "shiny"]}}))

    result = _find_captions(tmp_path, "a.png")

    assert result.captions == ("a zbadge, red, shiny", "one, red, shiny")


def test_a_row_belongs_to_the_image_in_its_folder_and_rows_without_an_image_are_reported(tmp_path: Path) -> None:
    images = [tmp_path / name for name in ("1.png", "sub/1.png", "sub/2.png", "more/2.png", "more/3.png")]
    (tmp_path / "sub").mkdir()
    (tmp_path / "more").mkdir()
    rows = {"1.png": "beside", "2.png": "either", "val/3.png": "another", r"C:\set\more\3": "of windows", "gone.png": "gone"}
    (tmp_path / "metadata.jsonl").write_text(
        "".join(json.dumps({"file_name": name, "text": text}) + "\n" for name, text in rows.items())
    )
    files = CaptionFiles(tmp_path, images)

    captions = {image.relative_to(tmp_path).as_posix(): result.captions for image in images if (result := files.find(image))}

    assert captions == {"1.png": ("beside",), "more/3.png": ("of windows",)}
    assert files.unknown_rows() == [(tmp_path / "metadata.jsonl", "3 of its names match no image here, or several, as 2.png")]


def test_of_two_different_captions_the_one_next_to_the_image_is_used_and_the_other_reported(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a zbadge")
    (tmp_path / "a.caption").write_text("something else")
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.png", "text": "a zbadge"}')

    result = _find_captions(tmp_path, "a.png")

    assert result.captions == ("a zbadge",)
    assert result.conflicting == (tmp_path / "a.caption",)


def test_the_error_for_a_broken_table_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.png", "text": "a"}\n{oops\n')

    with pytest.raises(BadInput, match=r"metadata\.jsonl, line 2: not valid JSON"):
        CaptionFiles(tmp_path, [tmp_path / "a.png"]).find(tmp_path / "a.png")


@given(st.text())
def test_any_json_is_a_caption_table_or_ignored_and_never_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    folder = tmp_path_factory.mktemp("tables")
    (folder / "x.json").write_text(json.dumps({"a": text, "b": [text], "c": {"caption": text}}), encoding="utf-8")

    result = _find_captions(folder, "c.png")

    assert result.captions == (" ".join(text.split()),)
