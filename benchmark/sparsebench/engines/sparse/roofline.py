"""Where the time of a network goes: seconds, multiply-adds and bytes of each operation, measured."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from .engine import SparseEngine
from .library import Kind
from .program import Program, io_for
from .weights import entries_of


@dataclass(frozen=True)
class Cost:
    """One operation on one chunk: its least seconds, floating-point operations, and bytes of activations moved."""

    name: str
    kind: str
    seconds: float
    flops: int
    bytes: int


def costs(engine: SparseEngine, batch: Tensor, repeats: int = 3) -> list[Cost]:
    """Return what each operation of a batch's first chunk costs, borders included."""
    program = engine.program(batch.shape[2], batch.shape[3])
    count = min(program.isa.lanes, len(batch))
    output, unusual = np.empty((count, program.features), np.float32), np.zeros(count, np.int32)
    io = io_for(batch, output, 0, count, unusual)
    least = np.full(len(program.ops), np.inf)
    for _ in range(repeats):
        for index in range(len(program.ops)):
            started = time.perf_counter()
            program.run(io, index, 1)
            least[index] = min(least[index], time.perf_counter() - started)
    return [_cost(program, index, float(least[index])) for index in range(len(program.ops))]


def _cost(program: Program, index: int, seconds: float) -> Cost:
    op, lanes = program.ops[index], program.isa.lanes
    maps = [m for m in (op.x, op.y, op.r) if m.data]
    size = [m.channels * m.height * m.width * lanes for m in maps]
    flops = 0
    if op.kind in (Kind.SPARSE, Kind.PAIR, Kind.DENSE):
        inputs = op.inputs * op.y.channels if op.kind == Kind.DENSE else entries_of(op)
        flops = 2 * inputs * op.y.height * op.y.width * lanes
    moved = op.y.border * op.y.row * 2 if op.kind == Kind.ZERO else 4 * sum(size)
    return Cost(program.names[index], Kind(op.kind).name.lower(), seconds, flops, moved)


def table(engine: SparseEngine, batch: Tensor) -> list[str]:
    """Return the costs as lines of a Markdown table, with each operation's rates."""
    found = costs(engine, batch)
    total = sum(cost.seconds for cost in found)
    lines = ["| layer | kernel | ms | share | GFLOP | GFLOP/s | MB | GB/s |", "|---|---|---|---|---|---|---|---|"]
    for c in found:
        rates = f"{c.flops / 1e9:.3f} | {c.flops / c.seconds / 1e9:.0f}"
        moved = f"{c.bytes / 1e6:.1f} | {c.bytes / c.seconds / 1e9:.1f}"
        lines.append(f"| {c.name} | {c.kind} | {1e3 * c.seconds:.2f} | {c.seconds / total:.1%} | {rates} | {moved} |")
    return lines
