"""Attention on the meta device: counted there, and never put in the place of another thread's."""

from concurrent.futures import ThreadPoolExecutor

import torch
from torch.nn import functional

from zthumb.memory.fused_attention import FusedAttention


def _attend(device: str) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(1, 2, 5, 4, generator=generator).to(device) for _ in range(3))
    return functional.scaled_dot_product_attention(query, key, value)


def test_an_image_that_is_generated_meanwhile_is_the_same() -> None:
    expected = _attend("cpu")

    with FusedAttention() as fused, ThreadPoolExecutor(1) as other:
        meanwhile = other.submit(_attend, "cpu").result()
        assert _attend("meta").is_meta
    assert torch.equal(meanwhile, expected)
    assert fused.operations == 4 * 40 * 5


def test_torchs_own_attention_is_back_after_blocks_of_several_threads() -> None:
    original = functional.scaled_dot_product_attention

    def estimate(_: int) -> None:
        with FusedAttention():
            _attend("meta")

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(estimate, range(50)))
    assert functional.scaled_dot_product_attention is original
