"""Prompts are read as people keep them, and what YAML makes of them is told in plain words."""

from pathlib import Path

import pytest

from evaluation.protocol import read_protocol
from foundation.errors import BadInput


def _written(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "# of a badge\na red {trigger}\n\na zbadge on grass\na red star\n"),
        ("a.csv", "prompt,note\na red {trigger},x\na zbadge on grass,\na red star,\n"),
        ("a.tsv", "Text\tnote\na red {trigger}\tx\na zbadge on grass\t\na red star\t\n"),
        ("a.prompts", "a red zbadge\na ZBADGE on grass\na red star\n"),
    ],
)
def test_lines_and_tables_are_prompts_with_and_without_the_concept(tmp_path: Path, name: str, text: str) -> None:
    protocol = read_protocol(_written(tmp_path, name, text), "zbadge")

    assert protocol.trained == ("a red {trigger}", "a {trigger} on grass")
    assert protocol.control == ("a red star",)


def test_what_kohya_takes_as_sample_prompts_is_read_with_its_options(tmp_path: Path) -> None:
    options = "--n blurry, ugly --w 64 --h 96 --l 7.5 --s 20"
    text = f"a red zbadge, best {options} --d 7\na star {options}\n"

    protocol = read_protocol(_written(tmp_path, "a.txt", text), "zbadge")

    assert (protocol.trained, protocol.control) == (("a red {trigger}, best",), ("a star",))
    assert (protocol.negative_prompt, protocol.width, protocol.height, protocol.cfg, protocol.steps) == (
        "blurry, ugly",
        64,
        96,
        7.5,
        20,
    )


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.yaml", "trained:\n  - a photo: {trigger} on grass, [red\n", "line 3|line 2"),
        ("a.yaml", "trained: [a {trigger}\ncontrol: x: y\n", "Put the prompt in quotes"),
        ("a.txt", "a star\n", "none would show the concept"),
        ("a.txt", "\n# nothing\n", "no prompt is in it"),
        ("a.csv", "name\nx\n", "no column is called prompt; there are name"),
        ("a.txt", "a zbadge --w wide\n", "line 1: --w 'wide' is no number"),
        ("a.txt", "a zbadge --q 3\n", "--q is not read"),
        ("a.txt", "a zbadge --s 3\na star --s 4\n", "with other options than the first"),
    ],
)
def test_what_is_wrong_is_told_in_plain_words(tmp_path: Path, name: str, text: str, told: str) -> None:
    with pytest.raises(BadInput, match=told):
        read_protocol(_written(tmp_path, name, text), "zbadge")
