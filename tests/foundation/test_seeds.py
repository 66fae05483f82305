from hypothesis import given
from hypothesis import strategies as st

from foundation.seeds import derive


@given(st.integers(0, 2**40), st.text(), st.integers(0, 2**40))
def test_a_stream_is_the_same_for_the_same_names_and_fits_a_generator(seed: int, name: str, step: int) -> None:
    drawn = derive(seed, name, step)
    assert drawn == derive(seed, name, step)
    assert 0 <= drawn < 2**63


def test_streams_of_other_names_and_seeds_differ() -> None:
    drawn = {derive(seed, name, step) for seed in range(5) for name in ("noise", "order") for step in range(50)}
    assert len(drawn) == 5 * 2 * 50
