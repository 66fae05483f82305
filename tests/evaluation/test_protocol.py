from pathlib import Path

import pytest

from evaluation.protocol import check_trigger_free, read_protocol, samples
from foundation.errors import BadInput
from tests.conftest import ROOT


def _write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "prompts.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", sorted((ROOT / "evaluation" / "prompts").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_protocol_asks_for_the_base_and_for_both_strata(path: Path) -> None:
    asked = list(samples(read_protocol(path), "zbadge"))
    assert {sample.stratum for sample in asked} == {"trigger", "control"}
    assert 0.0 in {sample.lora_scale for sample in asked}
    assert 0.8 in {sample.lora_scale for sample in asked}
    assert all(("zbadge" in sample.prompt) == (sample.stratum == "trigger") for sample in asked)


def test_every_prompt_is_asked_at_every_seed_and_scale(tmp_path: Path) -> None:
    protocol = read_protocol(_write(tmp_path, "trigger: ['a {trigger}']\ncontrol: [a cat]\nseeds: [1, 2]\nscales: [0, 0.5, 1]\n"))
    asked = [(sample.prompt, sample.seed, sample.lora_scale) for sample in samples(protocol, "z")]
    assert len(asked) == len(set(asked)) == 2 * 2 * 3


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("trigger: [a cat]\n", "does not contain {trigger}"),
        ("trigger: ['{trigger}']\nscales: [0.5, 1]\n", "scale 0, the base, is missing"),
        ("trigger: ['{trigger}']\nseed: [1]\n", "Did you mean 'seeds'"),
        ("[1, 2", "not valid YAML"),
    ],
)
def test_a_faulty_prompts_file_is_named_with_its_fault(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(BadInput) as error:
        read_protocol(_write(tmp_path, text))
    assert named in str(error.value)
    assert "prompts.yaml" in str(error.value)


def test_a_control_with_the_trigger_in_it_is_refused(tmp_path: Path) -> None:
    protocol = read_protocol(_write(tmp_path, "trigger: ['{trigger}']\ncontrol: [a z cat]\n"))
    with pytest.raises(BadInput, match="controls must be free of it"):
        check_trigger_free(protocol, "z")
