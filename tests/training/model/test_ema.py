"""The average follows the weights, takes their place for a while, and gives it back to the bit."""

import torch

from training.model.ema import EMA


def _walk(ema: EMA, weight: torch.Tensor, steps: int) -> None:
    for _ in range(steps):
        with torch.no_grad():
            weight.add_(1.0)
        ema.update()


def test_it_lags_behind_and_the_weights_come_back_as_they_were() -> None:
    weight = torch.nn.Parameter(torch.zeros(3))
    ema = EMA([weight], decay=0.9)
    _walk(ema, weight, 300)

    before = weight.detach().clone()
    with ema.in_place():
        inside = weight.detach().clone()

    assert torch.equal(weight, before)
    # Of a weight that grows by one a step, an average over ten steps lags nine behind.
    assert torch.allclose(before - inside, torch.full((3,), 9.0), atol=0.5)


def test_without_decay_it_is_the_weights_themselves() -> None:
    weight = torch.nn.Parameter(torch.zeros(3))
    ema = EMA([weight], decay=0.0)
    _walk(ema, weight, 5)

    with ema.in_place():
        assert weight.tolist() == [5.0, 5.0, 5.0]


def test_it_goes_on_from_its_state_as_if_it_had_never_stopped() -> None:
    weights = [torch.nn.Parameter(torch.zeros(2)) for _ in range(2)]
    whole, halves = EMA([weights[0]], 0.9), EMA([weights[1]], 0.9)
    _walk(whole, weights[0], 8)
    _walk(halves, weights[1], 5)
    resumed = EMA([weights[1]], 0.9)
    resumed.load_state(halves.state())
    _walk(resumed, weights[1], 3)

    with whole.in_place(), resumed.in_place():
        assert torch.equal(weights[0], weights[1])
