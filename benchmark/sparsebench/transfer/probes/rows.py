"""Features in one or several blocks of rows, seen as one matrix that is never put together in memory."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ...common.memmap import AROUND, KEPT, Mapping

Features = npt.NDArray[np.float32]

CHUNK = 8192
"""Rows that are read at a time; bounds the memory of a memory-mapped array."""

CHUNK_BYTES = 2**24
"""The same in bytes, for wide features."""

COPY_BYTES = 2**26
"""Rows picked out of a matrix are copied where they take no more than this; else they are gathered as they are read."""

_SCATTERED = KEPT // AROUND  # rows here and there of a large mapped array that are read at a time


def as_tensor(array: npt.NDArray[np.generic]) -> Tensor:
    """Return a tensor over an array's memory, also where that is read-only: nothing here writes to features."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


class Block:
    """Rows of one matrix: all of it, or those of an index, which are gathered as they are read.

    Parameters
    ----------
    array : ndarray of float32, shape (n, d), C-contiguous
        The matrix.
    index : ndarray of int64, shape (m,), optional
        Its rows that count, in order.
    """

    def __init__(self, array: Features, index: npt.NDArray[np.int64] | None = None) -> None:
        self.array, self.index = array, index
        self._mapping = Mapping(array)

    def __len__(self) -> int:
        return len(self.array if self.index is None else self.index)

    def rows(self, low: int, high: int) -> Features:
        """Return rows of the block: a view of the matrix, or a copy of what an index picks."""
        picked = None if self.index is None else self.index[low:high]
        span = min(high, len(self)) - low if picked is None or not len(picked) else int(picked[-1] - picked[0]) + 1
        self._mapping.read(4 * span * self.array.shape[1])
        return self.array[low:high] if picked is None else self.array[picked]

    def head(self, count: int) -> Block:
        """Return the first rows, as a view."""
        return Block(self.array[:count]) if self.index is None else Block(self.array, self.index[:count])

    def where(self, own: npt.NDArray[np.int64]) -> Block:
        """Return the rows of an index: a view where they are one run, a copy where that is small."""
        if len(own) and own[-1] - own[0] + 1 == len(own):
            low, high = int(own[0]), int(own[-1]) + 1
            return Block(self.array[low:high]) if self.index is None else Block(self.array, self.index[low:high])
        rows = own if self.index is None else self.index[own]
        if 4 * len(rows) * self.array.shape[1] <= COPY_BYTES:
            return Block(self.array[rows])
        return Block(self.array, rows)

    def on(self, device: torch.device) -> Tensor:
        """Return the rows as a tensor of a device, over the matrix itself where that is possible."""
        return as_tensor(self.rows(0, len(self)) if self.index is not None else self.array).to(device)

    def take(self, source: Tensor, index: Tensor, out: Tensor) -> None:
        """Write the rows of ``index`` (m,) of the block, which lies at ``source``, to ``out`` (m, d)."""
        if not self._mapping.mapped or source.device.type != "cpu":
            torch.index_select(source, 0, index, out=out)
            return
        for some, rows in zip(index.split(_SCATTERED), out.split(_SCATTERED), strict=True):
            torch.index_select(source, 0, some, out=rows)
            self._mapping.read(len(some) * AROUND)


class Rows:
    """The rows of several float32 matrices of equal width, in order; arrays that are C-contiguous are not copied.

    Parameters
    ----------
    blocks : sequence of ndarray, shapes (n_i, d)
        At least one; empty ones are left out where another isn't.
    """

    def __init__(self, blocks: Sequence[Features | Block]) -> None:
        kept = [b for b in blocks if len(b)] or list(blocks[:1])
        self._blocks = tuple(
            b if isinstance(b, Block) else Block(np.ascontiguousarray(b, dtype=np.float32)) for b in kept
        )
        self.dimension = int(self._blocks[0].array.shape[1])

    def __len__(self) -> int:
        return sum(len(block) for block in self._blocks)

    @property
    def blocks(self) -> tuple[Features, ...]:
        """The matrices, as views where that is possible."""
        return tuple(block.rows(0, len(block)) for block in self._blocks)

    def head(self, count: int) -> Rows:
        """Return the first rows, as views."""
        blocks, left = [], count
        for block in self._blocks:
            blocks.append(block.head(left))
            left -= len(blocks[-1])
        return Rows(blocks)

    def where(self, mask: npt.NDArray[np.bool_]) -> Rows:
        """Return the rows of a mask (n,): of each block a view, a copy, or an index (see :meth:`Block.where`)."""
        blocks, start = [], 0
        for block in self._blocks:
            own = np.flatnonzero(mask[start : start + len(block)])
            start += len(block)
            if len(own):
                blocks.append(block.where(own))
        return Rows(blocks or [self._blocks[0].head(0)])

    def chunks(self, device: torch.device | str = "cpu", size: int | None = None) -> Iterator[tuple[slice, Tensor]]:
        """Yield ``(rows, features)`` of a few rows at a time.

        At most ``size`` rows at a time, on ``device``; by default :data:`CHUNK`, or fewer
        where these are wide.
        """
        start, size = 0, size or min(CHUNK, max(1, CHUNK_BYTES // (4 * self.dimension)))
        for block in self._blocks:
            for low in range(0, len(block), size):
                part = as_tensor(block.rows(low, low + size)).to(device)
                yield slice(start + low, start + low + len(part)), part
            start += len(block)

    def on(self, device: torch.device) -> Gatherer:
        """Return what gathers rows on a device, which holds them all if it isn't the CPU."""
        return Gatherer(self._blocks, device)


class Gatherer:
    """Copies rows by index out of blocks that lie on a device."""

    def __init__(self, blocks: Sequence[Block], device: torch.device) -> None:
        self._blocks = tuple(blocks)
        self._tensors = tuple(block.on(device) for block in blocks)

    def take(self, index: Tensor, out: Tensor) -> None:
        """Write the rows of ``index`` (m,) to ``out`` (m, d)."""
        if len(self._tensors) == 1:
            self._blocks[0].take(self._tensors[0], index, out)
            return
        start = 0
        for block, tensor in zip(self._blocks, self._tensors, strict=True):
            where = ((index >= start) & (index < start + len(tensor))).nonzero().squeeze(1)
            found = torch.empty(len(where), out.shape[1], device=out.device)
            block.take(tensor, index[where] - start, found)
            out[where] = found
            start += len(tensor)
