"""Put one factor and one summand per channel into the convolution or linear layer before them (LayerScale is one)."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from .graph import Convolution, Layer, Network


def fold_affine(network: Network) -> Network:
    """Return a network in which such layers are gone where nothing else reads what they read."""
    uses = Counter(id(value) for layer in network.layers for value in layer.reads)
    uses[id(network.output)] += 1
    layers: list[Layer] = []
    for layer in network.layers:
        before = layers[-1] if layers else None
        if _per_channel(layer) and isinstance(before, Convolution) and before.y is layer.x and uses[id(layer.x)] == 1:
            layers[-1] = _merged(before, layer)
        else:
            layers.append(layer)
    return replace(network, layers=layers)


def _per_channel(layer: Layer) -> bool:
    return isinstance(layer, Convolution) and layer.groups == layer.x.channels and layer.position_wise


def _merged(before: Convolution, layer: Layer) -> Convolution:
    assert isinstance(layer, Convolution)  # noqa: S101 - seen by _per_channel
    factor = layer.weight.astype(np.float64)
    weight = (before.weight * factor).astype(np.float32)
    bias = (before.bias * factor[:, 0, 0, 0] + layer.bias).astype(np.float32)
    return replace(before, y=layer.y, weight=weight, bias=bias)
