import torch

from training.memory.peak_memory import PeakMemoryTracker


def test_what_lives_at_once_is_counted_and_views_are_not() -> None:
    given = torch.zeros(1000)
    with PeakMemoryTracker() as live:
        first = given + 1
        second = first + 1
        del first
        third = second * 2
        third.view(10, 100).add_(1)
    assert live.peak == 2 * given.nbytes


def test_tensors_without_values_count_as_if_they_had_them() -> None:
    with PeakMemoryTracker() as live, torch.device("meta"):
        matrix = torch.zeros(1000, 1000)
        product = matrix @ matrix
    assert live.peak == matrix.nbytes + product.nbytes
