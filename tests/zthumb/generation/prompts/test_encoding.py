"""What the parsers make of prompts for the denoiser, with the miniature's text encoders."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.errors import BadInput
from tests.conftest import MINIATURE
from zthumb import families
from zthumb.adapters.extended_embedding import with_learned_tokens
from zthumb.adapters.textual_inversion import LearnedEmbedding
from zthumb.diffusion.conditioning import Conditioning
from zthumb.families.shared.clip_text import ClipTextFamily
from zthumb.generation import prompts
from zthumb.generation.prompts.base import Malformed, is_plain

SDXL = families.get("sdxl")
assert isinstance(SDXL, ClipTextFamily)
STAR, LONG = "a photo of a red star on a blue background", "a photo of a red star, " * 20 + "on a blue background"


@pytest.fixture(scope="module")
def pipeline() -> Any:
    return SDXL.load(MINIATURE, torch.float32, torch.device("cpu"))


def _encoded(
    name: str, text: str, pipeline: Any, learned_tokens: dict[str, int] | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    return _embeds(prompts.get(name).encode(text, pipeline, SDXL, learned_tokens or {}))


def _plain(pipeline: Any, text: str) -> tuple[torch.Tensor, torch.Tensor]:
    return _embeds(SDXL.encode_prompts(pipeline, [text]))


def _embeds(conditioning: Conditioning) -> tuple[torch.Tensor, torch.Tensor]:
    return conditioning.stack("prompt_embeds"), conditioning.stack("pooled_prompt_embeds")


@pytest.mark.parametrize("name", prompts.names())
@pytest.mark.parametrize("text", [STAR, ""])
def test_without_marks_all_say_the_same(name: str, text: str, pipeline: Any) -> None:
    states, pooled = _encoded(name, text, pipeline)
    expected, whole = _plain(pipeline, text)
    assert torch.allclose(states, expected, atol=1e-4)
    assert torch.allclose(pooled, whole, atol=1e-4)


@pytest.mark.parametrize("name", ["lpw", "compel"])
def test_a_long_prompt_is_read_to_its_end(name: str, pipeline: Any) -> None:
    states, _ = _encoded(name, LONG, pipeline)
    other, _ = _encoded(name, LONG.replace("blue", "green"), pipeline)
    assert states.shape[1] > 77
    assert states.shape[1] % 77 == 0
    assert not torch.allclose(states[:, -77:], other[:, -77:])
    # plain has no room for it, and says what it leaves out.
    assert torch.equal(_encoded("plain", LONG, pipeline)[0], _encoded("plain", LONG.replace("blue", "green"), pipeline)[0])
    assert prompts.get("plain").truncated_text(LONG, pipeline, SDXL, {}).endswith("on a blue background")
    assert prompts.get(name).truncated_text(LONG, pipeline, SDXL, {}) == ""


def test_what_plain_leaves_out_is_the_rest_of_what_it_reads(pipeline: Any) -> None:
    truncated = prompts.get("plain").truncated_text(LONG, pipeline, SDXL, {})
    read = LONG.removesuffix(truncated)
    assert read + truncated == LONG
    assert (
        len(SDXL.tokenize(pipeline, read)[0])
        <= SDXL.max_prompt_tokens
        < len(SDXL.tokenize(pipeline, f"{read} {truncated.split()[0]}")[0])
    )


@pytest.mark.parametrize(
    ("name", "more", "less"), [("lpw", "a (red:1.5) star", "a (red:0.5) star"), ("compel", "a (red)1.5 star", "a (red)0.5 star")]
)
def test_a_weight_leads_away_from_the_plain_prompt_one_way_or_the_other(name: str, more: str, less: str, pipeline: Any) -> None:
    plain, heavy, light = (_encoded(name, text, pipeline)[0] for text in ("a red star", more, less))
    up, down = (heavy - plain).flatten(), (light - plain).flatten()
    assert up.norm() > 0.01 * plain.norm()
    assert torch.nn.functional.cosine_similarity(up, down, dim=0) < -0.1


def test_break_begins_a_new_piece(pipeline: Any) -> None:
    states, pooled = _encoded("lpw", "a red star BREAK a blue background", pipeline)
    first, whole = _plain(pipeline, "a red star")
    second, _ = _plain(pipeline, "a blue background")
    assert torch.allclose(states, torch.cat([first, second], dim=1), atol=1e-5)
    assert torch.allclose(pooled, whole, atol=1e-5)


def test_a_blend_lies_between(pipeline: Any) -> None:
    states, pooled = _encoded("compel", '("a red star", "a blue circle").blend(1, 3)', pipeline)
    first, second = (_plain(pipeline, text) for text in ("a red star", "a blue circle"))
    assert torch.allclose(states, 0.25 * first[0] + 0.75 * second[0], atol=1e-4)
    assert torch.allclose(pooled, 0.25 * first[1] + 0.75 * second[1], atol=1e-4)


def test_several_prompts_one_after_the_other(pipeline: Any) -> None:
    states, _ = _encoded("compel", '("a red star", "a blue circle").and()', pipeline)
    assert states.shape[1] == 2 * 77


@pytest.mark.parametrize("name", prompts.names())
@pytest.mark.parametrize("text", ["a zbadge at the left", LONG.replace("star", "zbadge")])
def test_words_of_adapters_are_read_by_all(name: str, text: str, pipeline: Any) -> None:
    parts = {part: getattr(pipeline, part) for part in SDXL.adapted_components}
    before, _ = _encoded(name, text, pipeline)
    with with_learned_tokens(parts, [LearnedEmbedding("zbadge", SDXL.token_embeddings(pipeline, "zbadge"))]) as known:
        same, _ = _encoded(name, text, pipeline, known)
    rows = torch.randn(3, 128, generator=torch.Generator().manual_seed(0))
    with with_learned_tokens(parts, [LearnedEmbedding("zbadge", {"text_encoder": rows, "text_encoder_2": rows})]) as known:
        other, _ = _encoded(name, text, pipeline, known)
    if same.shape == before.shape and (name != "compel" or text != LONG.replace("star", "zbadge")):
        # compel cuts long prompts where words end, and where those of an adapter do it cannot know.
        assert torch.allclose(same, before, atol=1e-5)
    assert other.shape != before.shape or not torch.allclose(other, before)


@pytest.mark.parametrize(
    ("text", "position", "reason"),
    [
        ("a (red star", 3, "never closed"),
        ("a red) star", 6, "closes nothing"),
        ('("x","y").blend(1)', 10, "as many numbers"),
        ('a,b ("x","y").blend(1,1)', 14, "nothing may stand before"),
        ('("x","y").blend(1,z)', 10, "as many numbers"),
        ('("x","y").blend(1,1) and more', 22, "should end here"),
        ("a cat.swap(dog)", 6, "swap is not supported"),
        ("()", 1, "nothing is left"),
        ("(" * 9 + "a" + ")" * 9, 5, "too many brackets"),
        ("((((a)))) " * 60, 34, "too many brackets"),
        ("a " * 3000, 4001, "reads 4,000 characters"),
        ("(a)99999999999999999999", 1, "a weight is 0 to 10"),
        ("'a'+" + "+" * 500, 1, "a weight is 0 to 10"),
        ('("a","b").blend(1,-1)', 10, "together not 0"),
        ('("a","b").blend(1,99)', 10, "the numbers of a blend"),
    ],
)
def test_what_compel_cannot_read_is_told_with_its_place(text: str, position: int, reason: str) -> None:
    with pytest.raises(Malformed, match=reason) as error:
        prompts.get("compel").check(text)
    assert error.value.position == position


@settings(deadline=None, max_examples=150)
@given(st.text(alphabet="ab ()+-1.,\"'\\blend", max_size=30))
def test_compel_reads_any_text_or_refuses_it_at_one_of_its_characters(text: str) -> None:
    position = _refused_at(text)
    assert position is None or 1 <= position <= len(text) + 1


def _refused_at(text: str) -> int | None:
    try:
        prompts.get("compel").check(text)
    except Malformed as error:
        return error.position
    return None


def test_a_prompt_of_too_many_pieces_is_refused(pipeline: Any) -> None:
    with pytest.raises(BadInput, match="16 are read at most"):
        _encoded("lpw", "word " * 1300, pipeline)
    with pytest.raises(Malformed, match="more than 16 pieces"):
        prompts.get("lpw").check("a BREAK " * 20)


def test_a_word_is_known_by_whatever_letters_are_the_same(pipeline: Any) -> None:
    # A long s is the same letter to a pattern that takes no notice of capitals, and not to lower().
    numbers = SDXL.tokenize(pipeline, "a \u017fks dog", {"sks": 2})
    assert [number for number in numbers[0] if number >= 1214] == [1214, 1215]


@pytest.mark.parametrize("text", ["a star", "A1 sauce, a photo"])
def test_what_is_plain_to_all(text: str) -> None:
    assert is_plain(text)


@pytest.mark.parametrize("text", ["a (star", "a+", "BREAK", "a AND b", "x" * 76, "\U0001d160" * 18, "a.add"])
def test_what_may_not_be_plain_to_all(text: str) -> None:
    assert not is_plain(text)
