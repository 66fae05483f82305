"""The data set of a trial concept looks like a user's, and its prompts request colours that no image has shown."""

from pathlib import Path

import pytest
import yaml

from foundation.files import read_json
from miniature.trials.concepts import CONCEPTS
from miniature.trials.dataset import PROMPT_CONTENTS, TRAINING, write_dataset


@pytest.mark.parametrize("name", CONCEPTS)
def test_captions_contain_the_trigger_and_prompts_have_new_colours(tmp_path: Path, name: str) -> None:
    write_dataset(name, tmp_path)

    captions = [path.read_text() for path in sorted((tmp_path / "raw").glob("*.txt"))]
    prompts = yaml.safe_load((tmp_path / "prompts.yaml").read_text())
    contents = read_json(tmp_path / PROMPT_CONTENTS)
    assert len(captions) == len(list((tmp_path / "raw").glob("*.png"))) == TRAINING
    assert all(CONCEPTS[name].trigger in caption for caption in captions)
    triggered = {prompt.replace("{trigger}", CONCEPTS[name].trigger) for key in ("trained", "novel") for prompt in prompts[key]}
    assert triggered | set(prompts["control"]) == set(contents)
    assert not triggered & {caption.strip() for caption in captions}


def test_drawing_again_gives_the_same_data_set(tmp_path: Path) -> None:
    for folder in ("first", "second"):
        write_dataset("house", tmp_path / folder)

    first, second = (
        sorted(path.read_bytes() for path in (tmp_path / folder).rglob("*") if path.is_file()) for folder in ("first", "second")
    )
    assert first == second
