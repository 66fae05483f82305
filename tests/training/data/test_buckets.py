"""Images keep their shape: the sizes are those SDXL knows, and each image gets the nearest."""

from hypothesis import given
from hypothesis import strategies as st

from training.data.buckets import nearest, sizes


def test_at_1024_the_sizes_are_those_sdxl_was_trained_with() -> None:
    found = sizes(1024)

    assert {(512, 2048), (576, 1664), (704, 1344), (768, 1344), (832, 1152), (960, 1024), (1024, 1024), (2048, 512)} <= set(found)
    assert len(found) == 41
    assert all(side % 64 == 0 for size in found for side in size)


@given(st.integers(2, 64).map(lambda steps: steps * 32))
def test_every_size_has_about_the_area_of_the_square_and_turns_into_another(resolution: int) -> None:
    found = sizes(resolution)

    assert (resolution, resolution) in found
    assert all(0.9 <= height * width / resolution**2 <= 1 for height, width in found)
    assert {(width, height) for height, width in found} == set(found)


@given(st.integers(100, 9000), st.integers(100, 9000))
def test_a_image_gets_the_size_nearest_to_its_shape(height: int, width: int) -> None:
    chosen = nearest(height, width, 1024)

    def truncated_text(size: tuple[int, int]) -> float:
        wanted, given = size[0] / size[1], height / width
        return max(wanted / given, given / wanted)

    assert truncated_text(chosen) == min(truncated_text(size) for size in sizes(1024))
