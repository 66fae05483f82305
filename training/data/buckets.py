"""Aspect-ratio buckets: image sizes of about the same area, so that a wide image need not be cropped to a square."""

import math

_COARSE_STEP, _FINE_STEP = 64, 32
_MIN_AREA_RATIO = 0.9

Size = tuple[int, int]
"""Height and width in pixels."""


def bucket_sizes(resolution: int) -> tuple[Size, ...]:
    """Return every size of about ``resolution`` × ``resolution`` pixels, the tallest first.

    Sides are half to twice the resolution in steps of 64 pixels (32 below 512), areas 90 to 100 % of its square. At 1024 these
    are the sizes SDXL was trained with (arXiv 2307.01952, appendix I).
    """
    step = _COARSE_STEP if resolution >= 512 else _FINE_STEP
    sides = range(-(-resolution // 2 // step) * step, 2 * resolution + 1, step)
    area = resolution * resolution
    sizes = {(height, width) for height in sides for width in sides if _MIN_AREA_RATIO * area <= height * width <= area}
    return tuple(sorted(sizes | {(resolution, resolution)}, reverse=True))


def nearest_bucket(height: int, width: int, resolution: int) -> Size:
    """Return the bucket whose aspect ratio is nearest to that of the image; the larger of two that are equally near."""
    log_ratio = math.log(height / width)

    def distance(size: Size) -> tuple[float, int]:
        return abs(math.log(size[0] / size[1]) - log_ratio), -size[0] * size[1]

    return min(bucket_sizes(resolution), key=distance)
