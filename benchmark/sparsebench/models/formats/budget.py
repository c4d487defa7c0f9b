"""How much memory a checkpoint file may ask for, so that a small file can't fill a machine's.

Compressed archives, sparse layouts, expanded tensors and packed masks all let a few bytes stand for gigabytes. What a
file holds is added up from its headers before any of it is read or made dense.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...schema import CheckpointError

_FLOOR = 128 << 20
_RATIO = 32


@dataclass(frozen=True)
class Budget:
    """The bytes that a file's tensors may take in float32, and its archives unpacked.

    Parameters
    ----------
    path : Path
        The file.
    limit : int
        Bytes.
    """

    path: Path
    limit: int

    @classmethod
    def of(cls, path: Path, stated: int | None = None) -> Budget:
        """Return the budget of a file: what its entry states, else 32 bytes per byte, and never less than 128 MiB.

        A sparse layout of 99 % zeros takes a thirtieth of the dense tensor.
        """
        return cls(path, stated if stated is not None else max(_FLOOR, _RATIO * path.stat().st_size))

    def check(self, size: int, what: str) -> None:
        """Check a number of bytes.

        Raises
        ------
        CheckpointError
            If it is more than there may be.
        """
        if size > self.limit:
            raise CheckpointError(
                f"{self.path}: {what} would take {size:,} bytes of memory, more than the {self.limit:,} of its budget",
                "if the file is meant to be that large, register it with memory: BYTES",
            )
