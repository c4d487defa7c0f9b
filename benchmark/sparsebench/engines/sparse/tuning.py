"""How to cut a convolution into tiles: a few sizes that a model of the processor finds good, measured once a shape.

No choice changes a result: each output is the same chain of multiply-adds in all of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from .graph import Convolution
from .library import Isa

_L1 = 32 * 1024
_LOADS = 2.5  # of an entry itself, in vectors
_LATENCY = 8.5  # multiply-adds in flight that hide their latency
_DENSE_FROM = 0.2  # share of nonzero weights from which the dense kernel is tried
_SHAPES = 4
_TURNS = 4
_HOPELESS = 1.5  # times the best so far: not measured again


@dataclass(frozen=True)
class Choice:
    """Vectors and rows a tile, input channels a block, parts of the output channels, and which kernel."""

    tile: int
    rows: int
    block: int
    parts: int
    dense: bool = False


class Tuner:
    """Measures, and remembers the choice for layers of the same shape and density.

    Parameters
    ----------
    threads : int
        Threads that a layer is shared among.
    measure : bool
        Whether to measure; without it the model's first choice is taken.
    """

    def __init__(self, threads: int, *, measure: bool = True) -> None:
        self._threads, self._measure = threads, measure
        self._known: dict[tuple[object, ...], Choice] = {}

    def choose(self, layer: Convolution, count: int, isa: Isa, run: Callable[[Choice], None]) -> Choice:
        """Return the choice for a layer with ``count`` nonzero weights; ``run`` runs it once with a choice."""
        x, y, w = layer.x, layer.y, layer.window
        density = count / max(1, layer.weight.size)
        shape = (x.channels, x.height, x.width, y.channels, y.height, y.width)
        key = (isa.name, *shape, w, layer.groups, layer.residual is None, round(density, 2))
        if key not in self._known:
            choices = candidates(layer, density, isa, self._threads)
            self._known[key] = _fastest(choices, run) if self._measure else choices[0]
        return self._known[key]


def candidates(layer: Convolution, density: float, isa: Isa, threads: int) -> list[Choice]:
    """Return the choices worth measuring, the likeliest first."""
    units = isa.lanes // isa.vector
    across = layer.y.width * units
    shapes = []
    for rows in (1, 2) if layer.y.height > 1 else (1,):
        most = min(14, isa.tile // 2 if rows == 2 else 14, across)
        shapes += [(rows, tile) for tile in range(units, most + 1, units)]
    shapes.sort(key=lambda shape: _cost(shape[0], shape[1], across, layer.y.height))
    kept: list[Choice] = []
    for rows, tile in shapes[:_SHAPES]:
        for block in _blocks(layer, rows, tile, isa):
            kept.append(Choice(tile, rows, block, _parts(layer, tile, rows, across, threads)))
    if layer.groups == 1 and density >= _DENSE_FROM:
        tile = min(isa.dense_tile // units * units or units, across)
        for block in _blocks(layer, 1, tile, isa):
            kept.append(Choice(tile, 1, block, _parts(layer, tile, 1, across, threads), dense=True))
        if density > 2 * _DENSE_FROM:
            kept = [c for c in kept if c.dense] + [c for c in kept if not c.dense][:2]
    return kept


def _cost(rows: int, tile: int, across: int, height: int) -> float:
    """Return the vectors' worth of time that one entry costs for all positions."""
    whole, rest = divmod(across, tile)
    total = 0.0
    for high, times in ((rows, height // rows), (1, height % rows)):
        tiles = [tile] * whole + ([rest] if rest else [])
        total += times * sum(max(high * t + _LOADS, _LATENCY) for t in tiles)
    return total


def _blocks(layer: Convolution, rows: int, tile: int, isa: Isa) -> list[int]:
    """Return numbers of input channels whose part of a tile's input fits into the first cache; and all."""
    inputs, w = layer.x.channels, layer.window
    if layer.groups > 1:
        return [inputs]
    high = (rows - 1) * w.stride + w.kernel[0]
    wide = tile * isa.vector * 4 * w.stride + (w.kernel[1] - 1) * isa.lanes * 4
    fits = max(8, int(0.75 * _L1 / (high * wide)))
    return list(dict.fromkeys(min(inputs, n) for n in (fits // 8 * 8, 2 * fits // 8 * 8, inputs)))


def _parts(layer: Convolution, tile: int, rows: int, across: int, threads: int) -> int:
    """Return how often the output channels are split, so that every thread finds work to the end."""
    if threads == 1:
        return 1
    tiles = -(-layer.y.height // rows) * -(-across // tile)
    return max(1, min(layer.y.channels // 16, -(-8 * threads // tiles)))


def _fastest(choices: list[Choice], run: Callable[[Choice], None]) -> Choice:
    """Return the choice with the least time; in turns, so that what else the machine does strikes all alike."""
    best = dict.fromkeys(choices, float("inf"))
    for choice in choices:
        run(choice)  # packs, and warms the caches
    for _ in range(_TURNS):
        limit = _HOPELESS * min(best.values())
        for choice in choices:
            if best[choice] > limit != float("inf"):
                continue
            started = time.perf_counter()
            run(choice)
            best[choice] = min(best[choice], time.perf_counter() - started)
    return min(choices, key=lambda choice: best[choice])
