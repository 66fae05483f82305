"""Data sets in the layouts of other trainers are read as those trainers read them, and the preparation says how."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

from foundation.errors import BadInput
from training.data.concept import read_concept
from training.data.dataset import read_dataset
from training.data.raw import find_raw_images
from training.prepare_dataset import main


def _image(path: Path, caption: str | None = None, colour: str = "red") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Noise makes the images different: images of one colour would be duplicates.
    image = Image.effect_noise((128, 128), 60).convert("RGB")
    image.paste(colour, (32, 32, 96, 96))
    image.save(path)
    if caption is not None:
        path.with_suffix(".txt").write_text(caption)


def _sources(dataset: Path) -> dict[str, tuple[tuple[str, ...], int]]:
    return {image.source: (image.captions, image.repeats) for image in find_raw_images(dataset).images}


@pytest.mark.parametrize("root", ["", "img/", "raw/"])
def test_kohyas_folders_give_trigger_class_repeats_and_regularization(tmp_path: Path, root: str) -> None:
    _image(tmp_path / f"{root}10_zbadge badge/a.png", "a photo of a zbadge")
    _image(tmp_path / f"{root}10_zbadge badge/b.png")
    _image(tmp_path / f"{root}30_zbadge badge/c.png", "a red zbadge")
    _image(tmp_path / "reg/1_badge/r.png")

    concept = read_concept(tmp_path)

    assert (concept.trigger, concept.class_word) == ("zbadge", "badge")
    assert _sources(tmp_path) == {
        f"{root}10_zbadge badge/a.png": (("a photo of a zbadge",), 1),
        f"{root}10_zbadge badge/b.png": (("zbadge badge",), 1),
        f"{root}30_zbadge badge/c.png": (("a red zbadge",), 3),
        "reg/1_badge/r.png": (("badge",), 1),
    }
    readings = " ".join(find_raw_images(tmp_path).readings)
    assert "10_zbadge badge/ is read as kohya's: 'zbadge badge', 10 repeats" in readings
    assert "2 images have no caption file" in readings


def test_a_folder_of_images_with_captions_is_read_at_any_depth(tmp_path: Path) -> None:
    _image(tmp_path / "a.png", "a photo of [trigger]")
    _image(tmp_path / "more" / "deep" / "b.jpg", "a photo of [name] on grass")
    _image(tmp_path / "reference" / "c.png")

    assert main(["--dataset", str(tmp_path), "--trigger", "zbadge"]) == 0

    captions = {entry.file: entry.caption for entry in read_dataset(tmp_path).entries}
    assert captions == {
        "prepared/a.png": "a photo of zbadge",
        "prepared/more/deep/b.png": "a photo of zbadge on grass",
    }
    # The files that it wrote are not read as images the next time.
    assert main(["--dataset", str(tmp_path), "--trigger", "zbadge", "--force"]) == 0
    assert len(read_dataset(tmp_path).entries) == 2


def test_diffusers_imagefolder_is_read(tmp_path: Path) -> None:
    _image(tmp_path / "train" / "a.png")
    (tmp_path / "train" / "metadata.jsonl").write_text('{"file_name": "a.png", "text": "a zbadge on grass"}\n')

    assert _sources(tmp_path) == {"train/a.png": (("a zbadge on grass",), 1)}


def test_without_a_trigger_the_error_says_how_to_pass_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _image(tmp_path / "a.png", "a photo")

    assert main(["--dataset", str(tmp_path)]) == 2
    assert "pass the word as --trigger" in capsys.readouterr().err


def test_several_lines_are_several_captions_or_one_as_set_in_the_concept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _image(tmp_path / "raw" / "a.png", "a red zbadge\na zbadge on grass\n")
    (tmp_path / "concept.yaml").write_text("trigger: zbadge\n")

    main(["--dataset", str(tmp_path)])
    assert read_dataset(tmp_path).entries[0].captions == ("a red zbadge", "a zbadge on grass")
    assert "1 captions have several lines, as raw/a.png" in capsys.readouterr().out

    (tmp_path / "concept.yaml").write_text("trigger: zbadge\ncaption_lines: joined\n")
    main(["--dataset", str(tmp_path)])
    assert read_dataset(tmp_path).entries[0].captions == ("a red zbadge a zbadge on grass",)


def test_one_caption_may_serve_all_and_an_empty_one_is_the_trigger(tmp_path: Path) -> None:
    _image(tmp_path / "raw" / "a.png")
    _image(tmp_path / "raw" / "b.png", "")
    (tmp_path / "concept.yaml").write_text("trigger: zbadge\ncaption: a photo of a [trigger]\n")

    main(["--dataset", str(tmp_path)])

    assert [entry.caption for entry in read_dataset(tmp_path).entries] == ["a photo of a zbadge", "zbadge"]


def test_regularization_without_captions_takes_the_class_word_or_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _image(tmp_path / "raw" / "a.png", "a zbadge")
    _image(tmp_path / "regularization" / "r.png")
    (tmp_path / "concept.yaml").write_text("trigger: zbadge\n")

    assert main(["--dataset", str(tmp_path)]) == 2
    assert "regularization/r.png: no caption next to it" in capsys.readouterr().err

    (tmp_path / "concept.yaml").write_text("trigger: zbadge\nclass_word: badge\n")
    assert main(["--dataset", str(tmp_path)]) == 0
    assert read_dataset(tmp_path).of("regularization")[0].caption == "badge"


def test_a_mask_next_to_its_image_as_in_onetrainer_is_used(tmp_path: Path) -> None:
    _image(tmp_path / "a.png", "a zbadge")
    Image.new("L", (128, 128), 255).save(tmp_path / "a-masklabel.png")

    (image,) = find_raw_images(tmp_path).images

    assert image.mask == tmp_path / "a-masklabel.png"


def test_masks_belong_to_the_image_of_their_folder_and_not_to_another_of_its_name(tmp_path: Path) -> None:
    for name in ("a/1.png", "b/1.png", "c/1.png", "c/2.png"):
        _image(tmp_path / "raw" / name, "a zbadge")
    masks = {"raw/a/1-masklabel.png": "raw/a/1.png", "masks/raw/b/1.png": "raw/b/1.png", "masks/2.png": "raw/c/2.png"}
    for mask in masks:
        _image(tmp_path / mask)

    mask_of = {image.source: image.mask for image in find_raw_images(tmp_path).images}

    assert mask_of == {"raw/c/1.png": None, **{image: tmp_path / mask for mask, image in masks.items()}}


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        (["masks/1.png"], "2 images are called 1.png, in a/ and b/"),
        (["masks/a/1.png", "raw/a/1-masklabel.png"], "already has a mask"),
        (["masks/a/3.png"], "there is no image of that name"),
        (["raw/a/3-masklabel.png"], "there is no image of that name"),
    ],
)
def test_a_mask_of_no_image_or_of_several_is_refused(tmp_path: Path, masks: list[str], message: str) -> None:
    for name in ("a/1.png", "b/1.png"):
        _image(tmp_path / "raw" / name, "a zbadge")
    for mask in masks:
        _image(tmp_path / mask)

    with pytest.raises(BadInput, match=message):
        find_raw_images(tmp_path)


def test_a_mask_of_a_regularization_image_is_reported_as_unused(tmp_path: Path) -> None:
    for name in ("raw/1.png", "reg/2.png", "reg/2-masklabel.png"):
        _image(tmp_path / name, "a zb")

    reason = "a mask of a regularization image; those are trained on without masks"
    assert (tmp_path / "reg/2-masklabel.png", reason) in find_raw_images(tmp_path).unused


def test_images_outside_the_folder_that_is_read_are_reported_as_unused(tmp_path: Path) -> None:
    for name in ("img/10_zb x/1.png", "img/0_off/2.png", "img/model/3.png", "20_y z/4.png", "reg/1_x/5.png", "logs/6.png"):
        _image(tmp_path / name, "a zb")

    raw = find_raw_images(tmp_path)

    assert [image.source for image in raw.images] == ["img/10_zb x/1.png", "img/model/3.png", "reg/1_x/5.png"]
    reasons = {str(path.relative_to(tmp_path)): reason for path, reason in raw.unused}
    assert reasons["img/0_off"] == "a kohya folder with 0 repeats in its name"
    assert reasons["20_y z"] == reasons["logs"] == "images are read from img/; move it there to use it"


@pytest.mark.parametrize("name", ["masks", "regularization", "reg", "reference"])
def test_a_folder_with_another_purpose_among_the_images_is_refused(tmp_path: Path, name: str) -> None:
    _image(tmp_path / "raw" / "1.png", "a zb")
    _image(tmp_path / "raw" / name / "2.png", "a zb")

    with pytest.raises(BadInput, match="Move it there, or rename it"):
        find_raw_images(tmp_path)


def test_images_of_one_name_in_reg_and_regularization_do_not_overwrite_each_other(tmp_path: Path) -> None:
    _image(tmp_path / "raw" / "1.png", "a zb")
    for name in ("reg", "regularization"):
        _image(tmp_path / name / "1.png", "an x")

    assert main(["--dataset", str(tmp_path), "--trigger", "zb"]) == 0

    assert {entry.file for entry in read_dataset(tmp_path).of("regularization")} == {
        "prepared/reg/1.png",
        "prepared/regularization/1.png",
    }


def test_without_images_the_error_lists_what_is_there_instead(tmp_path: Path) -> None:
    _image(tmp_path / "logs" / "a.png")
    (tmp_path / "raw").mkdir()

    with pytest.raises(BadInput, match="1 images in logs/"):
        find_raw_images(tmp_path)
    shutil.rmtree(tmp_path / "logs")
    (tmp_path / "raw" / "a.cr2").write_text("raw")
    with pytest.raises(BadInput, match=r"1 of \.cr2"):
        find_raw_images(tmp_path)


def test_a_reference_image_that_is_trained_on_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "concept.yaml").write_text("trigger: zbadge\n")
    for name in "abcd":
        _image(tmp_path / "raw" / f"{name}.png", "a zbadge")
    (tmp_path / "reference").mkdir()
    assert main(["--dataset", str(tmp_path), "--set", "data.holdout=0"]) == 0

    with Image.open(tmp_path / "raw" / "b.png") as image:
        image.save(tmp_path / "reference" / "z.jpg", quality=90)

    assert main(["--dataset", str(tmp_path), "--set", "data.holdout=0"]) == 2
    assert "z.jpg: shows the same image as raw/b.png" in capsys.readouterr().err
