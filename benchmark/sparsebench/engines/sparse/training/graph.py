"""A network in training as layers: batch normalisation stays, and takes in the addition and the clamp behind it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from ..graph import Elementwise, Layer, Network


@dataclass(eq=False, kw_only=True)
class Norm(Layer):
    """Batch normalisation of ``x``, plus ``residual``, clamped; ``name`` is its module's."""


def fuse(network: Network) -> Network:
    """Put additions and clamps into the norms and additions that they follow, where nothing else reads those."""
    uses = Counter(id(value) for layer in network.layers for value in layer.reads)
    uses[id(network.output)] += 1
    layers: list[Layer] = []
    for layer in network.layers:
        target = _target(layer, layers, uses) if isinstance(layer, Elementwise) else None
        if target is None:
            layers.append(layer)
            continue
        residual = target.residual
        if layer.residual is not None:
            residual = layer.residual if target.y is layer.x else layer.x
        layers.remove(target)
        layers.append(replace(target, y=layer.y, residual=residual, clamp=layer.clamp))
    return replace(network, layers=layers)


def _target(layer: Layer, before: list[Layer], uses: Counter[int]) -> Layer | None:
    if layer.residual is layer.x:
        return None
    for candidate in reversed(before):
        if candidate.y not in layer.reads or not isinstance(candidate, Norm | Elementwise):
            continue
        free = layer.residual is None or candidate.residual is None
        if uses[id(candidate.y)] == 1 and candidate.clamp.off and free:
            return candidate
    return None
