import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageFilter

from foundation.image_files import ENDINGS
from training.data.dataset import read_dataset
from training.prepare_dataset import main


def _prepare(folder: Path, *options: str) -> int:
    return main(["--dataset", str(folder), *options])


def test_images_become_a_checked_data_set_with_a_preview(dataset: Path) -> None:
    assert _prepare(dataset) == 0
    prepared = read_dataset(dataset)
    assert len(prepared.entries) == 20
    assert all("zbadge" in entry.caption for entry in prepared.entries)
    for entry in prepared.entries:
        with Image.open(dataset / entry.file) as image:
            assert (image.size, image.mode) == ((128, 128), "RGB")
    assert (dataset / "preview.png").exists()


def test_the_second_time_it_is_up_to_date_until_a_caption_changes(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _prepare(dataset)
    capsys.readouterr()
    assert _prepare(dataset) == 0
    assert "up to date" in capsys.readouterr().out
    (dataset / "raw" / "zbadge_01.txt").write_text("a zbadge in another light")
    assert _prepare(dataset) == 0
    assert "up to date" not in capsys.readouterr().out


def test_preparing_twice_gives_the_same_bytes(dataset: Path) -> None:
    _prepare(dataset)
    first = (dataset / "dataset.json").read_bytes()
    _prepare(dataset, "--force")
    assert (dataset / "dataset.json").read_bytes() == first


def test_without_buckets_an_image_is_cropped_to_its_middle_and_an_enlarged_one_keeps_its_original_size(dataset: Path) -> None:
    Image.new("RGB", (512, 256), "red").save(dataset / "raw" / "wide.png")
    Image.new("RGB", (64, 64), "red").save(dataset / "raw" / "tiny.png")
    for name in ("wide", "tiny"):
        (dataset / "raw" / f"{name}.txt").write_text("a zbadge")
    _prepare(dataset, "--set", "data.buckets=false")
    entries = {Path(entry.source).stem: entry for entry in read_dataset(dataset).entries}
    assert (entries["wide"].size, entries["wide"].original_size, entries["wide"].crop) == ((128, 128), (128, 256), (0, 64))
    assert (entries["tiny"].original_size, entries["tiny"].crop) == ((64, 64), (0, 0))


def test_a_wide_image_stays_wide_and_is_cropped_as_little_as_possible(dataset: Path) -> None:
    Image.new("RGB", (600, 400), "red").save(dataset / "raw" / "wide.png")
    (dataset / "raw" / "wide.txt").write_text("a zbadge")

    _prepare(dataset)

    entry = next(entry for entry in read_dataset(dataset).entries if entry.source == "raw/wide.png")
    assert (entry.size, entry.original_size, entry.crop) == ((96, 160), (107, 160), (5, 0))
    assert json.loads((dataset / "counts.json").read_text())["sizes"] == {"128 × 128": 20, "160 × 96": 1}


def test_a_smart_crop_keeps_the_object(dataset: Path) -> None:
    image = Image.new("RGB", (400, 128), "grey")
    with Image.open(dataset / "raw" / "zbadge_06.png") as badge:
        image.paste(badge, (272, 0))
    image.save(dataset / "raw" / "wide.png")
    (dataset / "raw" / "wide.txt").write_text("a zbadge")

    _prepare(dataset, "--set", "data.buckets=false", "--set", "data.crop=smart")

    entry = next(entry for entry in read_dataset(dataset).entries if entry.source == "raw/wide.png")
    assert entry.crop[1] > 220  # a crop of the middle would start at 136


def test_some_images_are_held_out_and_duplicates_are_on_the_same_side(dataset: Path) -> None:
    for path in sorted((dataset / "raw").glob("*.png")):
        with Image.open(path) as image:
            image.save(path.with_name(f"{path.stem}-copy.jpg"), quality=80)
        path.with_name(f"{path.stem}-copy.txt").write_text("a zbadge")

    _prepare(dataset, "--set", "data.holdout=0.25")

    prepared = read_dataset(dataset)
    trained, held_out = ({entry.source.removeprefix("raw/")[:9] for entry in prepared.of(role)} for role in ("train", "holdout"))
    assert (len(trained), len(held_out)) == (15, 5)
    assert not trained & held_out
    assert len(prepared.of("holdout")) == 10


def test_a_mask_is_cropped_like_its_image_and_counted(dataset: Path) -> None:
    (dataset / "masks").mkdir()
    mask = Image.new("L", (600, 400), "black")
    mask.paste(255, (300, 0, 600, 400))
    mask.save(dataset / "masks" / "wide.png")
    Image.new("RGB", (600, 400), "red").save(dataset / "raw" / "wide.jpg")
    (dataset / "raw" / "wide.txt").write_text("a zbadge")

    _prepare(dataset)

    prepared = read_dataset(dataset)
    entry = next(entry for entry in prepared.entries if entry.source == "raw/wide.jpg")
    assert entry.mask == "prepared/masks/wide.png"
    with Image.open(dataset / entry.mask) as fitted:
        assert (fitted.size, fitted.getpixel((10, 10)), fitted.getpixel((150, 10))) == ((160, 96), 0, 255)
    assert prepared.counts()["masked"] == 1


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("zbadge_03.png", (64, 64), "64 × 64 pixels, but its image has 128 × 128"),
        ("other.png", (128, 128), "no image of that name"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(
    dataset: Path, capsys: pytest.CaptureFixture[str], name: str, size: tuple[int, int], message: str
) -> None:
    (dataset / "masks").mkdir()
    Image.new("L", size, 255).save(dataset / "masks" / name)

    assert _prepare(dataset) == 2

    printed = capsys.readouterr().err
    assert name in printed
    assert message in printed


def test_regularization_images_are_separate_and_get_neither_template_nor_trigger(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = dataset / "regularization"
    folder.mkdir()
    (dataset / "concept.yaml").write_text("trigger: zbadge\ntemplate: '{caption}, a {trigger} for sale'\n")
    for name, caption in (("star", "a red star"), ("wrong", "a zbadge")):
        Image.new("RGB", (128, 128), "red").save(folder / f"{name}.png")
        (folder / f"{name}.txt").write_text(caption)

    _prepare(dataset)

    prepared = read_dataset(dataset)
    assert {entry.file: entry.caption for entry in prepared.of("regularization")} == {
        "prepared/regularization/star.png": "a red star",
        "prepared/regularization/wrong.png": "a zbadge",
    }
    assert not any("regularization" in source for sources in prepared.alike for source in sources)
    assert "contains the trigger: regularization/wrong.png" in capsys.readouterr().out


def _without_images(raw: Path) -> None:
    for path in raw.iterdir():
        path.unlink()


def _without_caption(raw: Path) -> None:
    (raw / "zbadge_03.txt").unlink()


def _truncated(raw: Path) -> None:
    image = raw / "zbadge_03.png"
    image.write_bytes(image.read_bytes()[:900])


def _empty(raw: Path) -> None:
    (raw / "zbadge_03.png").write_bytes(b"")


def _no_image(raw: Path) -> None:
    (raw / "zbadge_03.png").write_text("not an image")


def _too_small(raw: Path) -> None:
    Image.new("RGB", (31, 400)).save(raw / "zbadge_03.png")


def _not_utf8(raw: Path) -> None:
    (raw / "zbadge_03.txt").write_bytes(b"caf\xe9")


def _same_name(raw: Path) -> None:
    Image.new("RGB", (128, 128)).save(raw / "zbadge_03.jpg")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_without_images, "no images"),
        (_without_caption, "zbadge_03.png: no caption"),
        (_truncated, "zbadge_03.png: cannot be decoded completely"),
        (_empty, "zbadge_03.png: the file is empty"),
        (_too_small, "zbadge_03.png: only 31 × 400 pixels"),
        (_no_image, "zbadge_03.png: not an image"),
        (_not_utf8, "zbadge_03.txt: not UTF-8"),
        (_same_name, "one caption cannot serve two images"),
    ],
)
def test_bad_input_is_named_in_the_error_and_nothing_is_written(
    dataset: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], None], message: str
) -> None:
    damage(dataset / "raw")
    assert _prepare(dataset) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert "Traceback" not in printed
    assert sorted(path.name for path in dataset.iterdir()) == ["concept.yaml", "raw", "reference"]


@pytest.mark.parametrize("damage", [_truncated, _empty, _no_image, _too_small])
def test_with_skip_bad_bad_images_are_left_out_and_counted(
    dataset: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], None]
) -> None:
    damage(dataset / "raw")

    assert _prepare(dataset, "--skip-bad") == 0

    prepared = read_dataset(dataset)
    assert len(prepared.entries) == 19
    assert [image.source for image in prepared.left_out] == ["raw/zbadge_03.png"]
    assert "left out: raw/zbadge_03.png: " in capsys.readouterr().out


def test_if_every_image_is_bad_that_is_an_error_even_with_skip_bad(dataset: Path) -> None:
    for path in (dataset / "raw").glob("*.png"):
        path.write_bytes(b"")

    assert _prepare(dataset, "--skip-bad") == 2
    assert not (dataset / "dataset.json").exists()


def test_several_processes_prepare_the_same_bytes_as_one(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _prepare(dataset)
    by_one_process = (dataset / "dataset.json").read_bytes()
    monkeypatch.setattr("training.data.prepare.IMAGES_PER_WORKER", 4)

    _prepare(dataset, "--force")

    assert (dataset / "dataset.json").read_bytes() == by_one_process


def test_transparent_images_get_the_background_of_the_concept(dataset: Path) -> None:
    (dataset / "concept.yaml").write_text("trigger: zbadge\nbackground: '#00ff00'\n")
    Image.new("RGBA", (128, 128), (0, 0, 0, 0)).save(dataset / "raw" / "zbadge_03.png")

    _prepare(dataset)

    with Image.open(dataset / "prepared" / "zbadge_03.png") as image:
        assert image.getpixel((5, 5)) == (0, 255, 0)


def test_a_background_that_is_no_colour_is_refused(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (dataset / "concept.yaml").write_text("trigger: zbadge\nbackground: reddish\n")

    assert _prepare(dataset) == 2
    assert "reddish" in capsys.readouterr().err


def test_missing_captions_are_the_trigger_alone_if_they_are_allowed(dataset: Path) -> None:
    (dataset / "raw" / "zbadge_03.txt").unlink()
    assert _prepare(dataset, "--allow-missing-captions") == 0
    captions = {Path(entry.source).stem: entry.caption for entry in read_dataset(dataset).entries}
    assert captions["zbadge_03"] == "zbadge"


def test_a_missing_concept_says_what_to_write(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (dataset / "concept.yaml").unlink()
    assert _prepare(dataset) == 2
    assert "trigger:" in capsys.readouterr().err


@pytest.mark.parametrize("template", ["a photo", "{caption} {colour}", "{caption", "{}"])
def test_a_template_that_cannot_be_filled_is_refused(dataset: Path, capsys: pytest.CaptureFixture[str], template: str) -> None:
    (dataset / "concept.yaml").write_text(f"trigger: zbadge\ntemplate: '{template}'\n")

    assert _prepare(dataset) == 2
    assert "template" in capsys.readouterr().err


def test_template_and_presets_of_the_concept_are_applied_to_the_captions(dataset: Path) -> None:
    (dataset / "concept.yaml").write_text("trigger: zbadge\ntemplate: '{caption}, for sale'\npresets: {dusk: at dusk}\n")
    (dataset / "raw" / "zbadge_03.txt").write_text("a red zbadge [dusk]")

    _prepare(dataset)

    captions = {Path(entry.source).stem: entry.caption for entry in read_dataset(dataset).entries}
    assert captions["zbadge_03"] == "a red zbadge at dusk, for sale"


def test_the_part_of_a_caption_that_the_text_encoders_cut_off_is_reported(
    dataset: Path, miniature: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (dataset / "raw" / "zbadge_03.txt").write_text("a red zbadge " * 20 + "at the very end")

    _prepare(dataset, "--set", f"base={miniature}")

    notes = {Path(entry.source).stem: entry.notes for entry in read_dataset(dataset).entries}
    assert "at the very end" in notes["zbadge_03"][0]
    assert "raw/zbadge_03.png: the end of its caption is not read" in capsys.readouterr().out
    assert not any(note for name, note in notes.items() if name != "zbadge_03")


def test_duplicates_and_blurred_images_are_reported_and_used(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Image.open(dataset / "raw" / "zbadge_01.png") as image:
        image.save(dataset / "raw" / "copy.jpg", quality=70)
    with Image.open(dataset / "raw" / "zbadge_02.png") as image:
        image.filter(ImageFilter.GaussianBlur(4)).save(dataset / "raw" / "soft.png")
    for name in ("copy", "soft"):
        (dataset / "raw" / f"{name}.txt").write_text("a zbadge")

    _prepare(dataset)

    printed = capsys.readouterr().out
    assert "duplicates: raw/copy.jpg, raw/zbadge_01.png" in printed
    assert "raw/soft.png: looks blurred" in printed
    prepared = read_dataset(dataset)
    assert len(prepared.entries) == 22
    assert ("raw/copy.jpg", "raw/zbadge_01.png") in prepared.alike


def test_files_among_the_images_that_are_not_used_are_reported_and_counted(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _prepare(dataset)
    before = (dataset / "dataset.json").read_bytes()
    raw = dataset / "raw"
    (raw / "more").mkdir()
    for name in ("notes.md", "gone.txt", ".hidden"):
        (raw / name).write_text("a zbadge")
    capsys.readouterr()

    assert _prepare(dataset) == 0

    unused = [line for line in capsys.readouterr().out.splitlines() if "prepare: not used" in line]
    assert [(line.split(": ")[2], line.split(": ")[3].split(";")[0]) for line in unused] == [
        (str(raw / ".hidden"), "left there by an operating system or an archiver"),
        (str(raw / "gone.txt"), "a caption without an image of its name"),
        (str(raw / "notes.md"), f"not an image by its content or its extension ({', '.join(ENDINGS)})"),
    ]
    assert json.loads((dataset / "counts.json").read_text())["not used"] == 3
    # Nothing that training reads has changed.
    assert (dataset / "dataset.json").read_bytes() == before

    (raw / "zbadge_01.TXT").write_text("another zbadge")
    _prepare(dataset)
    assert "zbadge_01.TXT says something else than zbadge_01.txt and is not used" in capsys.readouterr().out


def test_a_mask_that_is_entirely_black_is_reported(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (dataset / "masks").mkdir()
    Image.new("L", (128, 128), 0).save(dataset / "masks" / "zbadge_03.png")

    assert _prepare(dataset) == 0
    assert "raw/zbadge_03.png: its mask is black throughout: nothing of it is learned" in capsys.readouterr().out
