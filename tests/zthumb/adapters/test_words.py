"""Words that adapters bring: their files, and what text encoders make of them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from safetensors.torch import load_file, save_file

from foundation.errors import BadInput
from tests.conftest import MINIATURE
from zthumb import families
from zthumb.adapters import reader, textual_inversion
from zthumb.adapters.adapter import Adapter
from zthumb.adapters.extended_embedding import with_learned_tokens
from zthumb.adapters.header import DIFFUSERS_FILE
from zthumb.adapters.layouts import save_diffusers
from zthumb.adapters.module_shapes import ModuleShapes
from zthumb.adapters.textual_inversion import LearnedEmbedding

SDXL = families.get("sdxl")
WIDTHS = {"text_encoder": 128, "text_encoder_2": 128}


@pytest.fixture(scope="module")
def pipeline() -> Any:
    return SDXL.load(MINIATURE, torch.float32, torch.device("cpu"))


@pytest.fixture
def parts(pipeline: Any) -> dict[str, Any]:
    return {part: getattr(pipeline, part) for part in SDXL.adapted_components}


def _word(text: str = "zbadge", tokens: int = 2, seed: int = 0) -> LearnedEmbedding:
    generator = torch.Generator().manual_seed(seed)
    return LearnedEmbedding(text, {part: torch.randn(tokens, width, generator=generator) for part, width in WIDTHS.items()})


def _encoded(pipeline: Any, prompt: str, known: dict[str, int]) -> torch.Tensor:
    states, pooled = SDXL.encode_prompts(pipeline, [prompt], known)
    return torch.cat([states.flatten(), pooled.flatten()])


def test_a_word_lies_beside_its_adapter(saved: Path, base: ModuleShapes) -> None:
    assert reader.load(saved, base).words == ()
    textual_inversion.save(_word(), saved.with_name("a_emb.safetensors"))
    (read,) = reader.load(saved, base).words
    assert (read.text, read.tokens) == ("zbadge", 2)
    assert all(torch.equal(read.vectors[part], vectors) for part, vectors in _word().vectors.items())


def test_in_the_diffusers_layout_it_is_the_folders_only_one(adapter: Adapter, base: ModuleShapes, tmp_path: Path) -> None:
    save_diffusers(adapter, tmp_path / DIFFUSERS_FILE)
    textual_inversion.save(_word(), tmp_path / "run_emb.safetensors")
    assert [word.text for word in reader.load(tmp_path, base).words] == ["zbadge"]
    textual_inversion.save(_word("other"), tmp_path / "other_emb.safetensors")
    assert reader.load(tmp_path, base).words == ()


def test_words_packed_into_the_adapters_own_file(saved: Path, base: ModuleShapes) -> None:
    given = _word()
    bundled = {"clip_l": given.vectors["text_encoder"], "clip_g": given.vectors["text_encoder_2"]}
    packed = load_file(saved) | {f"bundle_emb.my.word.{name}": vectors for name, vectors in bundled.items()}
    save_file(packed, saved)
    (read,) = reader.load(saved, base).words
    assert read.text == "my.word"
    assert torch.equal(read.vectors["text_encoder_2"], given.vectors["text_encoder_2"])


def test_a_file_that_names_no_word_is_called_as_diffusers_trainers_do(saved: Path, base: ModuleShapes) -> None:
    save_file({"clip_l": torch.ones(2, 128), "clip_g": torch.ones(2, 128)}, saved.with_name("a_emb.safetensors"))
    assert [word.text for word in reader.load(saved, base).words] == ["<s0><s1>"]


@pytest.mark.parametrize(
    ("tensors", "told"),
    [
        ({"clip_l": torch.ones(2, 128)}, "one for each text encoder"),
        ({"clip_l": torch.ones(2, 768), "clip_g": torch.ones(2, 1280)}, "a word for another base"),
        ({"clip_l": torch.ones(2, 128), "clip_g": torch.ones(3, 128)}, "another number of tokens"),
        ({"clip_l": torch.ones(2, 128), "clip_g": torch.full((2, 128), torch.nan)}, "NaN or infinity"),
        ({"clip_l": torch.ones(128), "clip_g": torch.ones(128)}, "a word for another base"),
        ({"clip_l": torch.ones(99, 128), "clip_g": torch.ones(99, 128)}, "a word for another base"),
    ],
)
def test_words_that_cannot_be_read_are_refused(
    saved: Path, base: ModuleShapes, tensors: dict[str, torch.Tensor], told: str
) -> None:
    save_file(tensors, saved.with_name("a_emb.safetensors"))
    with pytest.raises(BadInput, match=told):
        reader.load(saved, base)


def test_a_word_that_begins_as_the_bases_own_reads_the_same(pipeline: Any, parts: dict[str, Any]) -> None:
    prompt = "a photo of a Zbadge, on the left"
    before = _encoded(pipeline, prompt, {})
    own = SDXL.vectors(pipeline, "zbadge")
    with with_learned_tokens(parts, [LearnedEmbedding("zbadge", own)]) as known:
        assert known == {"zbadge": len(own["text_encoder"])}
        assert torch.equal(_encoded(pipeline, prompt, known), before)


def test_a_word_changes_prompts_it_is_in_and_no_other_and_leaves_no_trace(pipeline: Any, parts: dict[str, Any]) -> None:
    with_it, without = "a zbadge and a twin, a red star", "zbadges at the left"
    before = {prompt: _encoded(pipeline, prompt, {}) for prompt in (with_it, without)}
    with with_learned_tokens(parts, [_word("twin", seed=1), _word()]) as known:
        assert not torch.allclose(_encoded(pipeline, with_it, known), before[with_it])
        assert torch.equal(_encoded(pipeline, without, known), before[without])
    assert all(torch.equal(_encoded(pipeline, prompt, {}), told) for prompt, told in before.items())
    assert all(type(parts[part].get_input_embeddings()) is torch.nn.Embedding for part in WIDTHS)


def test_the_whole_prompt_is_read_at_its_end_whatever_words_are_in_it(pipeline: Any, parts: dict[str, Any]) -> None:
    # transformers takes the highest number for the end, in models as old as SDXL's: that would be the word's.
    prompt = "a zbadge and then many other things"
    _, before = SDXL.encode_prompts(pipeline, [prompt])
    with with_learned_tokens(parts, [LearnedEmbedding("zbadge", SDXL.vectors(pipeline, "zbadge"))]) as known:
        pipeline.text_encoder_2.config.eos_token_id, right = 2, pipeline.text_encoder_2.config.eos_token_id
        try:
            _, pooled = SDXL.encode_prompts(pipeline, [prompt], known)
        finally:
            pipeline.text_encoder_2.config.eos_token_id = right
    assert torch.equal(pooled, before)


def test_the_same_word_twice_is_refused(parts: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="'zbadge'"), with_learned_tokens(parts, [_word(), _word("ZBadge")]):
        pass


def test_diffusers_reads_the_file(tmp_path: Path) -> None:
    textual_inversion.save(_word(), tmp_path / "x_emb.safetensors")
    pipeline = StableDiffusionXLPipeline.from_pretrained(MINIATURE, local_files_only=True)
    tensors = load_file(tmp_path / "x_emb.safetensors")
    for name, encoder, tokenizer in (
        ("clip_l", pipeline.text_encoder, pipeline.tokenizer),
        ("clip_g", pipeline.text_encoder_2, pipeline.tokenizer_2),
    ):
        pipeline.load_textual_inversion(tensors[name], token="<zbadge>", text_encoder=encoder, tokenizer=tokenizer)
        assert torch.equal(encoder.get_input_embeddings().weight[-2:].detach(), tensors[name])
