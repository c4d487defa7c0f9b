"""An array written to the cache a few rows at a time, and made an entry when it is whole."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .entries import as_array, entry_dir, header
from .limit import ARRAY, META, TEMPORARY, CacheWarning, hold, make_room

if TYPE_CHECKING:
    from typing import Self


class Stream:
    """An array on its way to the disk; use as a context, which removes what isn't an entry by then.

    Nothing here fails: what the disk doesn't take is a :class:`CacheWarning`, and :attr:`open` is then False.

    Parameters
    ----------
    cache_dir : Path
        The root of the caches.
    kind : str
        ``features`` or ``crops``.
    key : mapping
        All that the array depends on.
    shape, dtype
        Of the whole array.
    """

    def __init__(self, cache_dir: Path, kind: str, key: Mapping[str, Any], shape: tuple[int, ...], dtype: type) -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)
        self.rows = 0
        self._kind, self._key, self._place = kind, dict(key), entry_dir(cache_dir, kind, key)
        self._sha256 = hashlib.sha256()
        self._folder: Path | None = None
        self._file: IO[bytes] | None = None
        start = header(shape, self.dtype)
        try:
            parent = self._place.parent
            parent.mkdir(parents=True, exist_ok=True)
            size = len(start) + int(np.prod(shape, dtype=np.int64)) * self.dtype.itemsize
            if make_room(cache_dir, size):
                self._folder = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=parent))
                self._file = (self._folder / ARRAY).open("w+b")
                self._file.write(start)
        except OSError as error:
            self._give_up(error)

    @property
    def open(self) -> bool:
        """Whether the disk has taken all rows so far."""
        return self._file is not None

    def append(self, rows: npt.NDArray[Any]) -> None:
        """Write the next rows, unless an earlier one couldn't be written."""
        if self._file is None:
            return
        data = np.ascontiguousarray(rows, dtype=self.dtype)
        try:
            self._file.write(data.data)
            self._file.flush()
        except OSError as error:
            self._give_up(error)
            return
        self._sha256.update(data.data)
        self.rows += len(data)

    def written(self) -> npt.NDArray[Any]:
        """Return the rows that were written, also after a later one couldn't be.

        Raises
        ------
        OSError
            If they can't be read back.
        """
        shape = (self.rows, *self.shape[1:])
        if self._folder is None or self.rows == 0:
            return np.empty(shape, self.dtype)
        start = len(header(self.shape, self.dtype))
        return np.memmap(self._folder / ARRAY, self.dtype, "r", start, shape)

    def finish(self, seconds: float) -> npt.NDArray[Any] | None:
        """Make the entry, if all rows are there; return the array, mapped into memory, or None.

        Parameters
        ----------
        seconds : float
            What it took to make.
        """
        if self._file is None or self._folder is None or self.rows != self.shape[0]:
            return None
        meta = {"key": self._key, "sha256": self._sha256.hexdigest(), "seconds": seconds}
        try:
            os.fsync(self._file.fileno())
            with (self._folder / META).open("w", encoding="utf-8") as text:
                json.dump(meta, text, indent=1, sort_keys=True)
                text.flush()
                os.fsync(text.fileno())
            self._folder.chmod(0o755)  # mkdtemp's own mode would shut out others who share the cache
            hold(self._file.fileno())
            array = as_array(self._file, self.shape, self.dtype, mapped=True)
            with contextlib.suppress(OSError):  # another process has made it meanwhile
                self._folder.replace(self._place)
        except (OSError, ValueError) as error:
            self._give_up(error)
            return None
        return array

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _give_up(self, error: Exception) -> None:
        reason = getattr(error, "strerror", None) or str(error)
        place = self._place.parent
        warnings.warn(f"the {self._kind} can't be cached in {place}: {reason}", CacheWarning, stacklevel=4)
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None
