"""Test predictions of one run: sample ids, labels and half-precision logits in one archive that holds no objects."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..schema import ResultsError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

HALF_MAX = 65504.0
"""Largest finite half-precision number."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a run predicted on the test set.

    Parameters
    ----------
    ids : tuple of str
        The samples, in the order of the test split.
    labels : ndarray of int64, shape (n,)
        True class indices.
    logits : ndarray of float, shape (n, classes)
        Kept in half precision; what exceeds its range is clipped to it.
    """

    ids: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    logits: npt.NDArray[np.floating]

    def to_bytes(self) -> bytes:
        """Return the archive (NPZ, compressed); equal predictions give equal bytes.

        Raises
        ------
        ValueError
            If ids, labels and logits don't belong together.
        """
        import numpy as np

        labels, logits = np.asarray(self.labels, dtype=np.int64), np.asarray(self.logits)
        if logits.ndim != 2 or labels.shape != (len(self.ids),) or len(logits) != len(self.ids):
            raise ValueError(f"{len(self.ids)} ids, labels of shape {labels.shape} and logits of shape {logits.shape}")
        half = np.clip(logits.astype(np.float64), -HALF_MAX, HALF_MAX).astype(np.float16)
        # NumPy's own text type drops trailing NULs, so the ids are kept as one run of UTF-8 and their lengths
        encoded = [name.encode("utf-8", "surrogatepass") for name in self.ids]
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            ids=np.frombuffer(b"".join(encoded), dtype=np.uint8),
            id_lengths=np.array([len(name) for name in encoded], dtype=np.int64),
            labels=labels,
            logits=half,
        )
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes, source: str) -> Predictions:
        """Read an archive; ``source`` names it in errors.

        Raises
        ------
        ResultsError
            If it isn't one, or is damaged.
        """
        import numpy as np

        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as archive:
                names, lengths = archive["ids"].tobytes(), archive["id_lengths"]
                labels, logits = archive["labels"], archive["logits"]
            ends = np.cumsum(lengths)
            spans = zip(ends - lengths, ends, strict=True)
            ids = tuple(names[start:end].decode("utf-8", "surrogatepass") for start, end in spans)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, AttributeError) as error:
            raise ResultsError(f"{source} is not a file of predictions: {error}", "run its cell again") from error
        return cls(ids, labels.astype(np.int64), logits)
