"""Aspect-ratio buckets: images of about one area in a few sizes, so that a wide image need not lose its ends."""

import math

_COARSE, _FINE = 64, 32
_LEAST_AREA = 0.9

Size = tuple[int, int]
"""Height and width in pixels."""


def sizes(resolution: int) -> tuple[Size, ...]:
    """Every size of about ``resolution`` × ``resolution`` pixels, the tallest first.

    Sides are half to twice the resolution in steps of 64 pixels (32 below 512), areas 90 to 100 % of its square. At 1024 these
    are the sizes SDXL was trained with (arXiv 2307.01952, appendix I).
    """
    step = _COARSE if resolution >= 512 else _FINE
    sides = range(-(-resolution // 2 // step) * step, 2 * resolution + 1, step)
    area = resolution * resolution
    found = {(height, width) for height in sides for width in sides if _LEAST_AREA * area <= height * width <= area}
    return tuple(sorted(found | {(resolution, resolution)}, reverse=True))


def nearest(height: int, width: int, resolution: int) -> Size:
    """The size whose aspect ratio is nearest to that of an image, the larger of two that are equally near."""
    wanted = math.log(height / width)

    def distance(size: Size) -> tuple[float, int]:
        return abs(math.log(size[0] / size[1]) - wanted), -size[0] * size[1]

    return min(sizes(resolution), key=distance)
