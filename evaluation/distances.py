"""Distances between two pictures of the same prompt and seed."""

import numpy as np
from numpy.typing import NDArray


def pixel_distance(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """The mean absolute difference of two pictures of one shape, (height, width, 3), 0 (equal) … 1 (black and white)."""
    return float(np.mean(np.abs(first.astype(np.float64) - second.astype(np.float64))) / 255)
