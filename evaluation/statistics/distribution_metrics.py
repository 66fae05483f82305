"""Metrics of whole sets of images, computed by torchmetrics if there are enough images: they inform and have no intervals."""

import warnings
from typing import Any

from evaluation.arrays import Features

MIN_IMAGES_KID, MIN_IMAGES_MIFID = 8, 50
_KID_SUBSETS = 100
DESCRIPTIONS = {
    "kid": "Kernel distance between all images with the trigger and the held-out images; lower is closer (KID, Bińkowski et al. "
    f"2018; mean of {_KID_SUBSETS} subsets).",
    "mifid": "Fréchet distance between all images with the trigger and the training images; it is larger the more of them are "
    "copies of training images (MiFID, Bai et al. 2021).",
}


def compute_set_metrics(generated: Features, held_out: Features | None, training: Features | None) -> dict[str, float]:
    """Return the distribution metrics of ``generated`` features (n, D) that there are enough images for.

    KID to the held-out features (m, D), if both sets have at least 8 images; MiFID to the training features (m, D), if both
    have at least 50 and at least D.
    """
    set_metrics = {}
    if held_out is not None and min(len(held_out), len(generated)) >= MIN_IMAGES_KID:
        set_metrics["kid"] = _kid(generated, held_out)
    if training is not None and min(len(training), len(generated)) >= max(MIN_IMAGES_MIFID, training.shape[1]):
        set_metrics["mifid"] = _mifid(generated, training)
    return set_metrics


def _kid(generated: Features, real: Features) -> float:
    import torch
    from torchmetrics.image.kid import KernelInceptionDistance

    size = min(len(generated), len(real))
    with warnings.catch_warnings():
        # It warns that it keeps all features in memory; there are few here.
        warnings.simplefilter("ignore", UserWarning)
        metric = KernelInceptionDistance(feature=_precomputed(generated.shape[1]), subsets=_KID_SUBSETS, subset_size=size)
    # It draws the subsets from torch's global generator.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return float(_compute(metric, generated, real)[0])


def _mifid(generated: Features, real: Features) -> float:
    from torchmetrics.image.mifid import MemorizationInformedFrechetInceptionDistance

    metric = MemorizationInformedFrechetInceptionDistance(feature=_precomputed(generated.shape[1]))
    return float(_compute(metric, generated, real))


def _compute(metric: Any, generated: Features, real: Features) -> Any:
    import torch

    metric.set_dtype(torch.float64)
    metric.update(torch.from_numpy(real), real=True)
    metric.update(torch.from_numpy(generated), real=False)
    return metric.compute()


def _precomputed(width: int) -> Any:
    """Return a network that passes on features of ``width`` that are already extracted."""
    import torch

    network = torch.nn.Identity()
    network.num_features = width  # type: ignore[assignment]
    return network
