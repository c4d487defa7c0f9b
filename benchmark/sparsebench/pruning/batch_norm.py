"""Batch-norm statistics: estimating them anew after one-shot pruning, and freezing them for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from .state import TrainState

CALIBRATION_IMAGES = 1000
"""Images from which statistics are estimated anew (Peste et al., 2023, "CrAM", section 4: batch norm tuning, BNT)."""


def retune(state: TrainState, images: int = CALIBRATION_IMAGES, batch: int = 100) -> None:
    """Replace the running statistics by the averages over training images; no weight changes.

    Parameters
    ----------
    state : TrainState
        Its model is tuned, on images that it samples.
    images, batch : int
        How many images, and how many at a time.
    """
    layers = _layers(state.model)
    momenta = [layer.momentum for layer in layers]
    state.model.eval()
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # a plain average over the batches
        layer.train()
    with torch.no_grad():
        for inputs, _ in state.sample(images // batch, batch):
            state.forward(inputs)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
        layer.eval()


@contextmanager
def frozen_statistics(model: nn.Module) -> Iterator[None]:
    """Normalise by the batch as in training, but leave the running statistics as they are."""
    layers = _layers(model)
    tracking = [layer.track_running_stats for layer in layers]
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer, tracked in zip(layers, tracking, strict=True):
            layer.track_running_stats = tracked


@contextmanager
def batch_statistics(model: nn.Module) -> Iterator[None]:
    """Normalise by the batch though the network is in evaluation mode; the running statistics stay as they are."""
    layers = [layer for layer in _layers(model) if not layer.training]
    for layer in layers:
        layer.train()
    try:
        with frozen_statistics(model):
            yield
    finally:
        for layer in layers:
            layer.eval()


def _layers(model: nn.Module) -> list[_BatchNorm]:
    return [layer for layer in model.modules() if isinstance(layer, _BatchNorm)]
