"""Features too large for memory: written to the cache row by row as they are made, and mapped when they are read."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..schema import RunError

if TYPE_CHECKING:
    from typing import Self

STREAM_ABOVE = 256 * 2**20
"""Bytes of features above which they are streamed to the cache and mapped, rather than held in memory."""


class Stream:
    """An array ``(n, d)`` of float32 that is written a few rows at a time.

    Parameters
    ----------
    parent : Path
        The folder in which a temporary one is made; it is removed at the end, unless it was moved.
    shape : tuple of int
        Rows and columns.
    """

    def __init__(self, parent: Path, shape: tuple[int, int]) -> None:
        self.shape = shape
        self.sha256 = hashlib.sha256()
        self._rows = 0
        with _disk(parent):
            parent.mkdir(parents=True, exist_ok=True)
            self.folder = Path(tempfile.mkdtemp(prefix=".tmp-", dir=parent))
            self._file = (self.folder / "features.npy").open("wb")
            header: dict[str, Any] = {"descr": "<f4", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(self._file, header)

    def append(self, rows: npt.NDArray[np.float32]) -> None:
        """Write the next rows.

        Raises
        ------
        RunError
            If the disk doesn't take them.
        """
        data = np.ascontiguousarray(rows, dtype="<f4")
        with _disk(self.folder):
            self._file.write(data.data)
        self.sha256.update(data.data)
        self._rows += len(data)

    def close(self) -> Path:
        """Return the file, whole and closed."""
        if self._rows != self.shape[0]:
            raise RunError(f"{self._rows} rows of features were written, not {self.shape[0]}")
        with _disk(self.folder):
            self._file.close()
        return self.folder / "features.npy"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def _disk(place: Path) -> Iterator[None]:
    """Turn what a disk refuses into words."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"features can't be written below {place}: {error.strerror or error}",
            "free some space, or choose another cache folder with SPARSEBENCH_CACHE",
        ) from error
