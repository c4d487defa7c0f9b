"""How to cut a convolution into tiles: a few sizes that a model of the processor finds good, measured once per shape.

No choice changes a result: each output is the same chain of multiply-adds in all of them.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .graph import Convolution
from .library import Isa, Kind
from .weights import pair_block, paired

_LOADS = 2.5  # of an entry itself, in vectors
_LATENCY = 8.5  # multiply-adds in flight that hide their latency
_FAR = 1.5  # cycles more for a vector that comes from the second cache
_BRANCH = 16.0  # cycles that the end of a chain costs
_DENSE_FROM = 0.2  # share of nonzero weights from which the dense kernel is tried
_CHOICES = 8
_TURNS = 4
_HOPELESS = 1.3  # times the best so far: not measured again


def _first_cache() -> int:
    """Return the bytes of the first data cache; 32 KiB where the system doesn't say."""
    try:
        text = Path("/sys/devices/system/cpu/cpu0/cache/index0/size").read_text().strip()
        return int(text.removesuffix("K")) * 1024
    except (OSError, ValueError):
        return 32 * 1024


L1 = _first_cache()


@dataclass(frozen=True)
class Choice:
    """Vectors and rows a tile, input channels a block, parts of the output channels, the kernel, and its order.

    ``sweep``: the columns of a row inside, the output channels outside; without it the other way round.
    """

    tile: int
    rows: int
    block: int
    parts: int
    kernel: Kind = Kind.SPARSE
    sweep: bool = False


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

    def choose(self, layer: Convolution, count: int, strip: int, isa: Isa, run: Callable[[Choice], None]) -> Choice:
        """Return the choice for a layer with ``count`` nonzero weights; ``run`` runs it once with a choice.

        ``strip``: columns that lie side by side in its maps; a tile ends with them.
        """
        x, y, w = layer.x, layer.y, layer.window
        density = count / max(1, layer.weight.size)
        shape = (x.channels, x.height, x.width, y.channels, y.height, y.width)
        pairs = paired(layer, count, isa)
        key = (isa.name, *shape, w, layer.groups, layer.residual is None, strip, pairs, round(density, 2))
        if key not in self._known:
            if pairs:
                choices = paired_candidates(layer, strip, isa, self._threads)
            else:
                choices = candidates(layer, density, strip, isa, self._threads)
            self._known[key] = _fastest(choices, run) if self._measure else choices[0]
        return self._known[key]


def candidates(layer: Convolution, density: float, strip: int, isa: Isa, threads: int) -> list[Choice]:
    """Return the choices worth measuring, the likeliest first."""
    units = isa.lanes // isa.vector
    across = strip * units
    costs: dict[Choice, float] = {}
    for rows in (1, 2) if layer.y.height > 1 else (1,):
        most = min(14, isa.tile // 2 if rows == 2 else 14, across)
        for tile in range(units, most + 1, units):
            for block in _blocks(layer, rows, tile, isa):
                choice = Choice(tile, rows, block, _parts(layer, rows, threads))
                costs[choice] = _cost(layer, density, choice, strip, isa)
    kept = sorted(costs, key=lambda choice: costs[choice])[:_CHOICES]
    if layer.groups == 1 and density >= _DENSE_FROM:
        tile = min(isa.dense_tile // units * units or units, across)
        parts = _parts(layer, 1, threads)
        dense = [Choice(tile, 1, block, parts, kernel=Kind.DENSE) for block in _blocks(layer, 1, tile, isa)]
        dense.append(Choice(tile, 1, layer.x.channels, parts, kernel=Kind.DENSE, sweep=True))
        kept = dense + kept if density > 0.8 else kept + dense
    return kept


def paired_candidates(layer: Convolution, strip: int, isa: Isa, threads: int) -> list[Choice]:
    """Return the tiles of a paired layer worth measuring: the largest that divide a strip well."""
    units = isa.lanes // isa.vector
    tiles = (-(-strip // count) * units for count in range(1, strip + 1))
    fitting = list(dict.fromkeys(tile for tile in tiles if tile <= isa.pair_tile))[:3]
    block, parts = pair_block(layer.x.channels, isa), _parts(layer, 1, threads)
    return [Choice(tile, 1, block, parts, kernel=Kind.PAIR) for tile in fitting or [units]]


def _cost(layer: Convolution, density: float, choice: Choice, strip: int, isa: Isa) -> float:
    """Return about the cycles that a layer takes with the sparse kernel, its data in the caches."""
    units = isa.lanes // isa.vector
    strips, narrow = divmod(layer.y.width, strip)
    blocks = -(-layer.weight.shape[1] // choice.block)
    chain = density * layer.weight[0].size
    near = choice.block * _reach(layer, choice.rows, choice.tile, isa) <= 0.8 * L1
    part = -(-layer.y.channels // choice.parts)
    total = 0.0
    tiles: Counter[int] = Counter()
    for columns, count in ((strip, strips), (narrow, 1)):
        whole, rest = divmod(columns * units, choice.tile)
        tiles.update({choice.tile: whole * count})
        tiles.update({rest: count if rest else 0})
    for rows, times in ((choice.rows, layer.y.height // choice.rows), (1, layer.y.height % choice.rows)):
        for tile, count in tiles.items():
            vectors = rows * tile
            entry = max(vectors + _LOADS, _LATENCY) / 2 + (0 if near else _FAR * vectors / 2)
            kept = part * vectors * isa.vector * 4 <= L1 / 2  # partial sums stay in the first cache
            sums = blocks * (vectors * (1 if kept else 1 + _FAR) + _BRANCH)
            total += times * count * (chain * entry + sums)
    return total


def _reach(layer: Convolution, rows: int, tile: int, isa: Isa) -> int:
    """Return the bytes that a tile reads of one input channel."""
    w = layer.window
    high = (rows - 1) * w.stride + w.kernel[0]
    return high * (tile * isa.vector * 4 * w.stride + (w.kernel[1] - 1) * isa.lanes * 4)


def _blocks(layer: Convolution, rows: int, tile: int, isa: Isa) -> list[int]:
    """Return numbers of input channels whose part of a tile's input fits into the first cache; and all."""
    inputs = layer.x.channels
    if layer.groups > 1:
        return [inputs]
    fits = max(8, int(0.8 * L1) // _reach(layer, rows, tile, isa))
    return list(dict.fromkeys(min(inputs, max(8, n // 8 * 8)) for n in (fits, fits // 2, 2 * fits, inputs)))


def _parts(layer: Convolution, rows: int, threads: int) -> int:
    """Return how often the output channels are split, so that every thread finds work to the end."""
    if threads == 1:
        return 1
    bands = -(-layer.y.height // rows)
    return max(1, min(layer.y.channels // 16, -(-8 * threads // bands)))


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
