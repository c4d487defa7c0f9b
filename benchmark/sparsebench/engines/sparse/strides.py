"""Give strided 1x1 convolutions an input without gaps: every cache line that they load is theirs."""

from __future__ import annotations

from dataclasses import replace

from .graph import Convolution, Layer, Network, Pool, Value, Window


def close_gaps(network: Network) -> Network:
    """Return a network in which strided 1x1 convolutions read a copy of the positions that they need."""
    layers: list[Layer] = []
    for layer in network.layers:
        if not isinstance(layer, Convolution) or not _has_gaps(layer):
            layers.append(layer)
            continue
        stride = layer.window.stride
        copy = Value(layer.x.channels, layer.y.height, layer.y.width)
        limits = (layer.x.height, layer.x.width)
        window, name = Window((1, 1), stride), f"{layer.name} inputs"
        layers.append(Pool(name=name, x=layer.x, y=copy, kind="max", window=window, limits=limits))
        layers.append(replace(layer, x=copy, window=Window((1, 1))))
    return replace(network, layers=layers)


def _has_gaps(layer: Convolution) -> bool:
    w = layer.window
    return w.kernel == (1, 1) and w.stride > 1 and w.top == w.left == 0 and layer.groups == 1 and not layer.border()
