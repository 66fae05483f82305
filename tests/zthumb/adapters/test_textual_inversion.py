"""Learned embeddings of adapters: their files, and their effect on the text encoders."""

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
from zthumb.adapters.layouts import save_diffusers
from zthumb.adapters.module_shapes import ModuleShapes
from zthumb.adapters.textual_inversion import LearnedEmbedding
from zthumb.checkpoints.header import DIFFUSERS_FILE
from zthumb.families.sdxl import FAMILY as SDXL

WIDTHS = {"text_encoder": 128, "text_encoder_2": 128}


@pytest.fixture(scope="module")
def pipeline() -> Any:
    return SDXL.load(MINIATURE, torch.float32, torch.device("cpu"))


@pytest.fixture
def components(pipeline: Any) -> dict[str, Any]:
    return {component: getattr(pipeline, component) for component in SDXL.adapted_components}


def _embedding(text: str = "zbadge", tokens: int = 2, seed: int = 0) -> LearnedEmbedding:
    generator = torch.Generator().manual_seed(seed)
    vectors = {component: torch.randn(tokens, width, generator=generator) for component, width in WIDTHS.items()}
    return LearnedEmbedding(text, vectors)


def _encoded(pipeline: Any, prompt: str, learned_tokens: dict[str, int]) -> torch.Tensor:
    conditioning = SDXL.encode_prompts(pipeline, [prompt], learned_tokens)
    return torch.cat([conditioning.stack(name).flatten() for name in ("prompt_embeds", "pooled_prompt_embeds")])


def test_a_learned_embedding_is_read_from_the_file_next_to_its_adapter(saved: Path, base: ModuleShapes) -> None:
    assert reader.load(saved, base).embeddings == ()
    textual_inversion.save(_embedding(), saved.with_name("a_emb.safetensors"), families.get("sdxl"))
    (embedding,) = reader.load(saved, base).embeddings
    assert (embedding.text, embedding.tokens) == ("zbadge", 2)
    assert all(torch.equal(embedding.vectors[name], vectors) for name, vectors in _embedding().vectors.items())


def test_in_the_diffusers_layout_the_only_embedding_file_of_the_folder_is_read(
    adapter: Adapter, base: ModuleShapes, tmp_path: Path
) -> None:
    save_diffusers(adapter, tmp_path / DIFFUSERS_FILE)
    textual_inversion.save(_embedding(), tmp_path / "run_emb.safetensors", families.get("sdxl"))
    assert [embedding.text for embedding in reader.load(tmp_path, base).embeddings] == ["zbadge"]
    textual_inversion.save(_embedding("other"), tmp_path / "other_emb.safetensors", families.get("sdxl"))
    assert reader.load(tmp_path, base).embeddings == ()


def test_learned_embeddings_bundled_into_the_adapter_file_are_read(saved: Path, base: ModuleShapes) -> None:
    vectors = _embedding().vectors
    bundled = {"clip_l": vectors["text_encoder"], "clip_g": vectors["text_encoder_2"]}
    tensors = load_file(saved) | {f"bundle_emb.my.word.{name}": rows for name, rows in bundled.items()}
    save_file(tensors, saved)
    (embedding,) = reader.load(saved, base).embeddings
    assert embedding.text == "my.word"
    assert torch.equal(embedding.vectors["text_encoder_2"], vectors["text_encoder_2"])


def test_an_embedding_without_a_text_gets_the_name_that_diffusers_trainers_use(saved: Path, base: ModuleShapes) -> None:
    save_file({"clip_l": torch.ones(2, 128), "clip_g": torch.ones(2, 128)}, saved.with_name("a_emb.safetensors"))
    assert [embedding.text for embedding in reader.load(saved, base).embeddings] == ["<s0><s1>"]


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ({"clip_l": torch.ones(2, 128)}, "one for each text encoder"),
        ({"clip_l": torch.ones(2, 768), "clip_g": torch.ones(2, 1280)}, "learned tokens for another base"),
        ({"clip_l": torch.ones(2, 128), "clip_g": torch.ones(3, 128)}, "different numbers of learned tokens"),
        ({"clip_l": torch.ones(2, 128), "clip_g": torch.full((2, 128), torch.nan)}, "NaN or infinity"),
        ({"clip_l": torch.ones(1, 1, 128), "clip_g": torch.ones(1, 1, 128)}, "learned tokens for another base"),
        ({"clip_l": torch.ones(99, 128), "clip_g": torch.ones(99, 128)}, "learned tokens for another base"),
    ],
)
def test_embeddings_that_do_not_fit_are_refused_with_the_reason(
    saved: Path, base: ModuleShapes, tensors: dict[str, torch.Tensor], reason: str
) -> None:
    save_file(tensors, saved.with_name("a_emb.safetensors"))
    with pytest.raises(BadInput, match=reason):
        reader.load(saved, base)


def test_learned_tokens_equal_to_the_bases_own_change_nothing(pipeline: Any, components: dict[str, Any]) -> None:
    prompt = "a photo of a Zbadge, on the left"
    before = _encoded(pipeline, prompt, {})
    vectors = SDXL.token_embeddings(pipeline, "zbadge")
    with with_learned_tokens(components, [LearnedEmbedding("zbadge", vectors)]) as token_counts:
        assert token_counts == {"zbadge": len(vectors["text_encoder"])}
        assert torch.equal(_encoded(pipeline, prompt, token_counts), before)


def test_learned_tokens_change_only_prompts_with_their_word_and_leave_no_trace(pipeline: Any, components: dict[str, Any]) -> None:
    with_word, without_word = "a zbadge and a twin, a red star", "zbadges at the left"
    before = {prompt: _encoded(pipeline, prompt, {}) for prompt in (with_word, without_word)}
    with with_learned_tokens(components, [_embedding("twin", seed=1), _embedding()]) as token_counts:
        assert not torch.allclose(_encoded(pipeline, with_word, token_counts), before[with_word])
        assert torch.equal(_encoded(pipeline, without_word, token_counts), before[without_word])
    assert all(torch.equal(_encoded(pipeline, prompt, {}), encoded) for prompt, encoded in before.items())
    assert all(type(components[name].get_input_embeddings()) is torch.nn.Embedding for name in WIDTHS)


def test_the_pooled_embedding_is_read_at_the_end_of_the_prompt_despite_learned_tokens(
    pipeline: Any, components: dict[str, Any]
) -> None:
    # In models as old as SDXL's, transformers takes the highest token id for the end: that would be a learned token.
    prompt = "a zbadge and then many other things"
    before = SDXL.encode_prompts(pipeline, [prompt]).stack("pooled_prompt_embeds")
    vectors = SDXL.token_embeddings(pipeline, "zbadge")
    with with_learned_tokens(components, [LearnedEmbedding("zbadge", vectors)]) as token_counts:
        pipeline.text_encoder_2.config.eos_token_id, original = 2, pipeline.text_encoder_2.config.eos_token_id
        try:
            pooled = SDXL.encode_prompts(pipeline, [prompt], token_counts).stack("pooled_prompt_embeds")
        finally:
            pipeline.text_encoder_2.config.eos_token_id = original
    assert torch.equal(pooled, before)


def test_two_adapters_with_the_same_word_are_refused(components: dict[str, Any]) -> None:
    embeddings = [_embedding(), _embedding("ZBadge")]
    with pytest.raises(BadInput, match="'zbadge'"), with_learned_tokens(components, embeddings):
        pass


def test_diffusers_reads_the_embedding_file(tmp_path: Path) -> None:
    textual_inversion.save(_embedding(), tmp_path / "x_emb.safetensors", families.get("sdxl"))
    pipeline = StableDiffusionXLPipeline.from_pretrained(MINIATURE, local_files_only=True)
    tensors = load_file(tmp_path / "x_emb.safetensors")
    for name, encoder, tokenizer in (
        ("clip_l", pipeline.text_encoder, pipeline.tokenizer),
        ("clip_g", pipeline.text_encoder_2, pipeline.tokenizer_2),
    ):
        pipeline.load_textual_inversion(tensors[name], token="<zbadge>", text_encoder=encoder, tokenizer=tokenizer)
        assert torch.equal(encoder.get_input_embeddings().weight[-2:].detach(), tensors[name])
