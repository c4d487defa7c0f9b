"""Arrays mapped from files that are larger than memory: pages that were read are given back.

The pages of a mapped file stay in a process's memory until the system needs them. It can always take them, so they
harm nobody; but they count as the process's own, and a limit on that (a job's, a container's) doesn't know better.
"""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
import numpy.typing as npt

KEPT = 64 * 2**20
"""Bytes of a large mapped array that are left in memory once they were read."""

LARGE = 128 * 2**20
"""Bytes from which on a mapped array is large; smaller ones stay in memory, and a second pass over them is faster."""

AROUND = 2 * 2**20
"""Bytes that the system may map around one that is read: a huge page."""


class Mapping:
    """The file that an array is mapped from, if it is large and nobody can have written to the array itself.

    Parameters
    ----------
    array : ndarray
        Any array; without such a file every method does nothing.
    """

    def __init__(self, array: npt.NDArray[Any]) -> None:
        self._map: mmap.mmap | None = None
        self._read = 0
        owner: Any = array
        while isinstance(owner, np.ndarray) and not isinstance(owner.base, mmap.mmap):
            owner = owner.base
        if not isinstance(owner, np.memmap) or array.nbytes <= LARGE or not hasattr(mmap, "MADV_DONTNEED"):
            return
        if owner.mode in ("r", "r+"):  # a private copy ("c") may hold values that are in no file
            self._map = owner.base  # type: ignore[assignment]

    @property
    def mapped(self) -> bool:
        """Whether there is such a file."""
        return self._map is not None

    def read(self, size: int) -> None:
        """Count bytes that were read; give the pages back when :data:`KEPT` is reached."""
        if self._map is None:
            return
        self._read += size
        if self._read >= KEPT:
            self._read = 0
            self._map.madvise(mmap.MADV_DONTNEED)
