import numpy as np

from evaluation.distances import pixel_distance


def test_the_distance_is_the_mean_absolute_difference() -> None:
    black, white = np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 255, np.uint8)
    half = black.copy()
    half[0] = 255
    assert pixel_distance(black, black) == 0
    assert pixel_distance(black, white) == pixel_distance(white, black) == 1
    assert pixel_distance(black, half) == 0.5
