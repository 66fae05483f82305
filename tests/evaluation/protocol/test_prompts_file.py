"""Prompts are read in the forms people keep them, and errors are explained in plain words."""

from pathlib import Path

import pytest

from evaluation.protocol.plan import read_protocol
from foundation.errors import BadInput


def _write(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "# of a badge\na red {trigger}\n\na zbadge on grass\na red star\n"),
        ("a.csv", "prompt,note\na red {trigger},x\na zbadge on grass,\na red star,\n"),
        ("a.tsv", "Text\tnote\na red {trigger}\tx\na zbadge on grass\t\na red star\t\n"),
        ("a.json", '["a red zbadge", {"prompt": "a zbadge on grass"}, {"prompt": "a red star"}]'),
        (
            "a.toml",
            '[prompt]\n[[prompt.subset]]\nprompt = "a red zbadge"\n[[prompt.subset]]\nprompt = "a zbadge on grass"\n'
            '[[prompt.subset]]\nprompt = "a red star"\n',
        ),
        ("a.prompts", "a red zbadge\na ZBADGE on grass\na red star\n"),
    ],
)
def test_lines_and_tables_become_trained_and_control_prompts(tmp_path: Path, name: str, text: str) -> None:
    protocol = read_protocol(_write(tmp_path, name, text), "zbadge")

    assert protocol.trained == ("a red {trigger}", "a {trigger} on grass")
    assert protocol.control == ("a red star",)


def test_kohyas_sample_prompts_are_read_with_their_options(tmp_path: Path) -> None:
    options = "--n blurry, ugly --w 64 --h 96 --l 7.5 --s 20"
    text = f"a red zbadge, best {options} --d 7\na star {options}\n"

    protocol = read_protocol(_write(tmp_path, "a.txt", text), "zbadge")

    assert (protocol.trained, protocol.control) == (("a red {trigger}, best",), ("a star",))
    assert (protocol.negative_prompt, protocol.width, protocol.height, protocol.cfg, protocol.steps) == (
        "blurry, ugly",
        64,
        96,
        7.5,
        20,
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "a red zbadge --W 64 --H 96 --L 7.5 --d 7"),
        ("a.csv", "prompt,width,height,cfg_scale,seed\na red zbadge,64,96,7.5,7\n"),
        ("a.json", '[{"prompt": "a red zbadge", "width": 64, "height": 96, "scale": 7.5, "seed": 7}]'),
        ("a.toml", '[prompt]\nwidth = 64\nheight = 96\nscale = 7.5\n[[prompt.subset]]\nprompt = "a red zbadge"\nseed = 7\n'),
    ],
)
def test_settings_of_prompts_are_used_and_a_seed_is_reported_as_ignored(
    tmp_path: Path, name: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    protocol = read_protocol(_write(tmp_path, name, text), "zbadge")

    assert (protocol.trained, protocol.width, protocol.height, protocol.cfg) == (("a red {trigger}",), 64, 96, 7.5)
    assert "seed is ignored" in capsys.readouterr().out


def test_an_unknown_column_is_reported_as_ignored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    read_protocol(_write(tmp_path, "a.csv", "prompt,notes\na red zbadge,mine\n"), "zbadge")

    assert "a.csv: notes is ignored" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.yaml", "trained:\n  - a photo: {trigger} on grass, [red\n", "line 3|line 2"),
        ("a.yaml", "trained: [a {trigger}\ncontrol: x: y\n", "Put the prompt in quotes"),
        ("a.txt", "a star\n", "none would show the concept"),
        ("a.txt", "\n# nothing\n", "contains no prompt"),
        ("a.csv", "name\nx\n", "has no column named prompt; its columns are: name"),
        ("a.txt", "a zbadge --w wide\n", "line 1: --w 'wide' is not a valid number"),
        ("a.txt", "a zbadge --q 3\n", "--q is not supported"),
        ("a.txt", "a zbadge --b\n", "--b is not supported"),
        ("a.json", '{"a": 1}', "contains no list of prompts"),
        ("a.json", "[1]", "prompt 1: has no text named prompt"),
        ("a.json", "[", "cannot be read"),
        ("a.json", '[{"prompt": " "}]', "prompt 1: has no text named prompt"),
        ("a.json", '[{"prompt": "a zbadge", "width": 64.5}]', "prompt 1: width 64.5 is not a valid number"),
        ("a.toml", "[prompt]\nwidth = 3\n", "contains no list of prompts"),
        ("a.txt", "a zbadge --s 3\na star --s 4\n", "has other options than the first"),
    ],
)
def test_a_faulty_file_is_explained_in_plain_words(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        read_protocol(_write(tmp_path, name, text), "zbadge")
