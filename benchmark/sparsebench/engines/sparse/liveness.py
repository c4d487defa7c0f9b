"""Leave out channels that nothing reads: a mask that empties an input channel makes what feeds it needless."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from .graph import Convolution, Layer, Network, Value


def drop_unread(network: Network) -> Network:
    """Return a network without the output channels that no later layer has a weight for.

    Only channels that convolutions alone read are left out, and only from convolutions that add nothing. All other
    outputs stay what they are: what is left out had no weight in any of them.
    """
    layers = list(network.layers)
    for at in range(len(layers) - 1, -1, -1):
        layer = layers[at]
        if not isinstance(layer, Convolution) or layer.groups > 1 or layer.residual is not None:
            continue
        if layer.y is network.output:
            continue
        readers = [i for i, other in enumerate(layers) if layer.y in other.reads]
        kept = _read(layer.y, [layers[i] for i in readers])
        if kept is None or kept.all():
            continue
        if not kept.any():
            kept[0] = True  # a map has a channel
        y = Value(int(kept.sum()), layer.y.height, layer.y.width, layer.y.flat)
        layers[at] = replace(
            layer, y=y, weight=np.ascontiguousarray(layer.weight[kept]), bias=np.ascontiguousarray(layer.bias[kept])
        )
        for i in readers:
            reader = layers[i]
            assert isinstance(reader, Convolution)  # noqa: S101 - seen by _read
            layers[i] = replace(reader, x=y, weight=np.ascontiguousarray(reader.weight[:, kept]))
    return replace(network, layers=layers)


def _read(value: Value, readers: list[Layer]) -> npt.NDArray[np.bool_] | None:
    """Return which channels have a weight in a reader; None where one reads them in another way."""
    found = np.zeros(value.channels, bool)
    for reader in readers:
        if not isinstance(reader, Convolution) or reader.groups > 1 or reader.residual is value:
            return None
        found |= reader.weight.any(axis=(0, 2, 3))
    return found
