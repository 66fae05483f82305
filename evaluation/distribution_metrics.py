"""Figures of whole sets of images, through torchmetrics, where there are images enough: they inform and have no intervals."""

import warnings
from typing import Any

from evaluation.extractors.base import Features

LEAST_FOR_KID, LEAST_FOR_MIFID = 8, 50
_DRAWS = 100
MEANINGS = {
    "kid": "Kernel distance between all images with the trigger and the held-out ones, lower is nearer (KID, Bińkowski et al. "
    f"2018; mean of {_DRAWS} draws).",
    "mifid": "Fréchet distance to the training images, the larger the more are copies of them (MiFID, Bai et al. 2021).",
}


def set_figures(made: Features, held_out: Features | None, training: Features | None) -> dict[str, float]:
    """KID of ``made`` to the held-out features (n, D), from 8 of these up, and MiFID to the trained ones, from 50 and D up."""
    found = {}
    if held_out is not None and min(len(held_out), len(made)) >= LEAST_FOR_KID:
        found["kid"] = _kid(made, held_out)
    if training is not None and min(len(training), len(made)) >= max(LEAST_FOR_MIFID, training.shape[1]):
        found["mifid"] = _mifid(made, training)
    return found


def _kid(made: Features, real: Features) -> float:
    import torch
    from torchmetrics.image.kid import KernelInceptionDistance

    size = min(len(made), len(real))
    with warnings.catch_warnings():
        # It warns that it keeps all features; there are few here.
        warnings.simplefilter("ignore", UserWarning)
        metric = KernelInceptionDistance(feature=_ready(made.shape[1]), subsets=_DRAWS, subset_size=size)
    # It draws from torch's one generator.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return float(_computed(metric, made, real)[0])


def _mifid(made: Features, real: Features) -> float:
    from torchmetrics.image.mifid import MemorizationInformedFrechetInceptionDistance

    return float(_computed(MemorizationInformedFrechetInceptionDistance(feature=_ready(made.shape[1])), made, real))


def _computed(metric: Any, made: Features, real: Features) -> Any:
    import torch

    metric.set_dtype(torch.float64)
    metric.update(torch.from_numpy(real), real=True)
    metric.update(torch.from_numpy(made), real=False)
    return metric.compute()


def _ready(width: int) -> Any:
    """A network that hands on features of ``width`` which were extracted before."""
    import torch

    network = torch.nn.Identity()
    network.num_features = width  # type: ignore[assignment]
    return network
