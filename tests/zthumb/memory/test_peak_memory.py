import torch

from zthumb.memory.peak_memory import PeakMemoryTracker


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
