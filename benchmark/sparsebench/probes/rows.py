"""Features in one or several blocks of rows, seen as one matrix that is never put together in memory."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

CHUNK = 8192
"""Rows that are read at a time; bounds the memory of a memory-mapped array."""


def as_tensor(array: npt.NDArray[np.generic]) -> Tensor:
    """Return a tensor over an array's memory, also where that is read-only: nothing here writes to features."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


class Rows:
    """The rows of several float32 matrices of equal width, in order; arrays that are C-contiguous are not copied.

    Parameters
    ----------
    blocks : sequence of ndarray, shapes (n_i, d)
        At least one; empty ones are left out where another isn't.
    """

    def __init__(self, blocks: Sequence[npt.NDArray[np.float32]]) -> None:
        kept = [b for b in blocks if len(b)] or list(blocks[:1])
        self.blocks = tuple(np.ascontiguousarray(b, dtype=np.float32) for b in kept)
        self.dimension = int(self.blocks[0].shape[1])

    def __len__(self) -> int:
        return sum(len(block) for block in self.blocks)

    def head(self, count: int) -> Rows:
        """Return the first rows, as views."""
        blocks, left = [], count
        for block in self.blocks:
            blocks.append(block[:left])
            left -= len(blocks[-1])
        return Rows(blocks)

    def where(self, mask: npt.NDArray[np.bool_]) -> Rows:
        """Return the rows of a mask (n,): views of blocks that are taken from one place, copies of the others."""
        blocks, start = [], 0
        for block in self.blocks:
            own = np.flatnonzero(mask[start : start + len(block)])
            start += len(block)
            if len(own) and own[-1] - own[0] + 1 == len(own):
                blocks.append(block[own[0] : own[-1] + 1])
            elif len(own):
                blocks.append(block[own])
        return Rows(blocks or [self.blocks[0][:0]])

    def chunks(self, device: torch.device | str = "cpu", size: int | None = None) -> Iterator[tuple[slice, Tensor]]:
        """Yield ``(rows, features)``: at most ``size`` (default: :data:`CHUNK`) rows at a time, on ``device``."""
        start, size = 0, size or CHUNK
        for block in self.blocks:
            for low in range(0, len(block), size):
                part = as_tensor(block[low : low + size]).to(device)
                yield slice(start + low, start + low + len(part)), part
            start += len(block)

    def on(self, device: torch.device) -> Gatherer:
        """Return what gathers rows on a device, which holds them all if it isn't the CPU."""
        return Gatherer([as_tensor(block).to(device) for block in self.blocks])


class Gatherer:
    """Copies rows by index out of blocks of a device."""

    def __init__(self, blocks: Sequence[Tensor]) -> None:
        self.blocks = tuple(blocks)

    def take(self, index: Tensor, out: Tensor) -> None:
        """Write the rows of ``index`` (m,) to ``out`` (m, d)."""
        if len(self.blocks) == 1:
            torch.index_select(self.blocks[0], 0, index, out=out)
            return
        start = 0
        for block in self.blocks:
            where = ((index >= start) & (index < start + len(block))).nonzero().squeeze(1)
            out[where] = block[index[where] - start]
            start += len(block)
