"""The arrays that images and texts become."""

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""An RGB image, (height, width, 3)."""
Features = NDArray[np.float64]
"""Rows of unit length, (images or texts, dimensions)."""
Values = NDArray[np.float64]
"""One number for each image."""
