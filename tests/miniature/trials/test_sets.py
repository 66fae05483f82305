"""A trial's data set is what a person would hand in, and its prompts ask for nothing that an image has shown."""

from pathlib import Path

import pytest
import yaml

from foundation.files import read_json
from miniature.trials.concepts import CONCEPTS
from miniature.trials.sets import ASKED, TRAINING, write


@pytest.mark.parametrize("name", CONCEPTS)
def test_captions_have_the_trigger_and_prompts_new_colours(tmp_path: Path, name: str) -> None:
    write(name, tmp_path)

    captions = [path.read_text() for path in sorted((tmp_path / "raw").glob("*.txt"))]
    prompts = yaml.safe_load((tmp_path / "prompts.yaml").read_text())
    asked = read_json(tmp_path / ASKED)
    assert len(captions) == len(list((tmp_path / "raw").glob("*.png"))) == TRAINING
    assert all(CONCEPTS[name].trigger in caption for caption in captions)
    told = {prompt.replace("{trigger}", CONCEPTS[name].trigger) for part in ("trained", "novel") for prompt in prompts[part]}
    assert told | set(prompts["control"]) == set(asked)
    assert not told & {caption.strip() for caption in captions}


def test_the_same_set_is_drawn_again(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        write("house", tmp_path / folder)

    one, two = (
        sorted(path.read_bytes() for path in (tmp_path / folder).rglob("*") if path.is_file()) for folder in ("one", "two")
    )
    assert one == two
