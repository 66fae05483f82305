import pytest
import torch
from torch import nn

from zthumb.memory.peak_memory import AllocatorPeak, PeakMemoryTracker


def test_tensors_that_exist_at_once_are_counted_and_views_are_not() -> None:
    existing = torch.zeros(1000)
    with PeakMemoryTracker() as memory:
        first = existing + 1
        second = first + 1
        del first
        third = second * 2
        third.view(10, 100).add_(1)
    assert memory.peak == 2 * existing.nbytes


def test_tensors_on_the_meta_device_are_counted_as_if_they_were_allocated() -> None:
    with PeakMemoryTracker() as memory, torch.device("meta"):
        matrix = torch.zeros(1000, 1000)
        product = matrix @ matrix
    assert memory.peak == matrix.nbytes + product.nbytes


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv2d(24, 24, 3, padding=1), (1, 24, 128, 128)),
        (nn.Conv2d(64, 3, 3, padding=1), (1, 64, 128, 128)),
        (nn.Conv2d(4, 16, 3, padding=1), (1, 4, 128, 128)),
        (nn.Conv2d(64, 64, 1), (1, 64, 128, 128)),
        (nn.Conv3d(16, 16, 3, padding=1), (1, 16, 3, 64, 64)),
    ],
)
def test_what_a_cpu_allocates_inside_a_convolution_is_counted(layer: nn.Module, shape: tuple[int, ...]) -> None:
    inputs = torch.randn(shape)
    with torch.no_grad(), PeakMemoryTracker("cpu") as counted:
        layer(inputs)
    with torch.no_grad(), AllocatorPeak(torch.device("cpu")) as allocated:
        layer(inputs)

    assert counted.peak == pytest.approx(allocated.peak, rel=0.02)
