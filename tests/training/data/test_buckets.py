"""Images keep their aspect ratio: the bucket sizes are those SDXL was trained with, and each image gets the nearest."""

from hypothesis import given
from hypothesis import strategies as st

from training.data.buckets import bucket_sizes, nearest_bucket


def test_at_1024_the_sizes_are_those_sdxl_was_trained_with() -> None:
    sizes = bucket_sizes(1024)

    assert {(512, 2048), (576, 1664), (704, 1344), (768, 1344), (832, 1152), (960, 1024), (1024, 1024), (2048, 512)} <= set(sizes)
    assert len(sizes) == 41
    assert all(side % 64 == 0 for size in sizes for side in size)


@given(st.integers(2, 64).map(lambda steps: steps * 32))
def test_every_size_has_about_the_area_of_the_square_and_also_exists_transposed(resolution: int) -> None:
    sizes = bucket_sizes(resolution)

    assert (resolution, resolution) in sizes
    assert all(0.9 <= height * width / resolution**2 <= 1 for height, width in sizes)
    assert {(width, height) for height, width in sizes} == set(sizes)


@given(st.integers(100, 9000), st.integers(100, 9000))
def test_an_image_gets_the_size_nearest_to_its_aspect_ratio(height: int, width: int) -> None:
    chosen = nearest_bucket(height, width, 1024)

    def distortion(size: tuple[int, int]) -> float:
        bucket_ratio, image_ratio = size[0] / size[1], height / width
        return max(bucket_ratio / image_ratio, image_ratio / bucket_ratio)

    assert distortion(chosen) == min(distortion(size) for size in bucket_sizes(1024))
