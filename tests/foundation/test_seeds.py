from hypothesis import given
from hypothesis import strategies as st

from foundation.seeds import derive


@given(st.integers(0, 2**40), st.text(), st.integers(0, 2**40))
def test_a_seed_is_the_same_for_the_same_names_and_fits_a_generator(seed: int, name: str, step: int) -> None:
    derived = derive(seed, name, step)
    assert derived == derive(seed, name, step)
    assert 0 <= derived < 2**63


def test_seeds_of_different_names_and_base_seeds_differ() -> None:
    derived = {derive(seed, name, step) for seed in range(5) for name in ("noise", "order") for step in range(50)}
    assert len(derived) == 5 * 2 * 50
