"""Test predictions of one run: sample ids, labels, predicted classes and half-precision logits, in one archive."""

from __future__ import annotations

import hashlib
import io
import warnings
import zipfile
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..common.files import read_regular
from ..schema import FurtherTest, ResultsError, RunRecord

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

HALF_MAX = 65504.0
"""Largest finite half-precision number."""


class DamagedPredictionsWarning(UserWarning):
    """Predictions that can't be read; what would be made of them is left out."""


def warn_damaged(error: ResultsError) -> None:
    """Say that predictions can't be read and are left out."""
    text = f"{error.message}: left out; {error.hint}" if error.hint else f"{error.message}: left out"
    warnings.warn(text, DamagedPredictionsWarning, stacklevel=3)


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a run predicted on the test set.

    Parameters
    ----------
    ids : tuple of str
        The samples, in the order of the test split.
    labels : ndarray of int64, shape (n,)
        True class indices.
    predicted : ndarray of int64, shape (n,)
        Predicted class indices: those of the full-precision logits, which rounding to half precision could change.
    logits : ndarray of float, shape (n, classes), optional
        Kept in half precision; what exceeds its range is clipped to it. None where the classes alone were kept.
    temperature : float, optional
        What fits the run's logits of the validation images best, as its record has it (the archive doesn't); None where
        none were held out.
    """

    ids: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    predicted: npt.NDArray[np.int64]
    logits: npt.NDArray[np.floating] | None = None
    temperature: float | None = None

    @classmethod
    def of(cls, ids: tuple[str, ...], labels: npt.NDArray[np.int64], logits: npt.NDArray[np.floating]) -> Predictions:
        """Return the predictions that logits of full precision make: each image's class is that of its largest."""
        return cls(ids, labels, logits.argmax(axis=1).astype("int64"), logits)

    def without_logits(self) -> Predictions:
        """Return the predicted classes alone."""
        return replace(self, logits=None)

    def to_bytes(self) -> bytes:
        """Return the archive (NPZ, compressed); equal predictions give equal bytes.

        Raises
        ------
        ValueError
            If ids, labels, predicted classes and logits don't belong together.
        """
        import numpy as np

        labels, predicted = np.asarray(self.labels, dtype=np.int64), np.asarray(self.predicted, dtype=np.int64)
        n = len(self.ids)
        if labels.shape != (n,) or predicted.shape != (n,):
            raise ValueError(f"{n} ids, labels of shape {labels.shape} and predicted classes of {predicted.shape}")
        # NumPy's own text type drops trailing NULs, so the ids are kept as one run of UTF-8 and their lengths
        encoded = [name.encode("utf-8", "surrogatepass") for name in self.ids]
        arrays: dict[str, Any] = {
            "ids": np.frombuffer(b"".join(encoded), dtype=np.uint8),
            "id_lengths": np.array([len(name) for name in encoded], dtype=np.int64),
            "labels": labels,
            "predicted": predicted.astype(np.min_scalar_type(int(predicted.max(initial=0)))),
        }
        if self.logits is not None:
            logits = np.asarray(self.logits)
            if logits.ndim != 2 or len(logits) != n:
                raise ValueError(f"{n} ids and logits of shape {logits.shape}")
            arrays["logits"] = _half(logits)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        return buffer.getvalue()

    @classmethod
    def from_bytes(
        cls, data: bytes, source: str, *, logits: bool = True, known: dict[bytes, tuple[str, ...]] | None = None
    ) -> Predictions:
        """Read an archive.

        An archive of schema 1 has logits alone: its predicted classes are those of the rounded logits.

        Parameters
        ----------
        data : bytes
            The archive.
        source : str
            What errors call it.
        logits : bool
            Read them, too, where there are any.
        known : dict, optional
            The ids of archives before, by their hash: equal ones share one tuple.

        Raises
        ------
        ResultsError
            If it isn't one, or is damaged.
        """
        import numpy as np

        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as archive:
                names, lengths = archive["ids"].tobytes(), archive["id_lengths"].astype(np.int64)
                labels = archive["labels"].astype(np.int64)
                old = "predicted" not in archive.files
                kept = archive["logits"] if "logits" in archive.files and (logits or old) else None
                predicted = _largest(kept) if old else archive["predicted"]
            ids = _ids(names, lengths, {} if known is None else known)
            shapes = {labels.shape, predicted.shape, (len(labels),) if kept is None else kept.shape[:1]}
            if shapes != {(len(ids),)}:
                raise ValueError("its arrays have different lengths")
            if len(ids):
                _check(labels, predicted, kept)
        except (OSError, ValueError, KeyError, EOFError, TypeError, AttributeError, MemoryError, zipfile.BadZipFile,
                zlib.error) as error:  # fmt: skip
            raise ResultsError(
                f"{source} is not a file of predictions: {error}", "run its cell again with --overwrite always"
            ) from error
        return cls(ids, labels, predicted.astype(np.int64), kept if logits else None)


def _ids(names: bytes, lengths: npt.NDArray[np.int64], known: dict[bytes, tuple[str, ...]]) -> tuple[str, ...]:
    import numpy as np

    key = hashlib.sha256(names + lengths.tobytes()).digest()
    if key not in known:
        ends = np.cumsum(lengths)
        spans = zip(ends - lengths, ends, strict=True)
        known.setdefault(key, tuple(names[start:end].decode("utf-8", "surrogatepass") for start, end in spans))
    return known[key]


def _check(
    labels: npt.NDArray[np.int64], predicted: npt.NDArray[np.integer], logits: npt.NDArray[np.floating] | None
) -> None:
    """Raise ValueError where a class is none, or a logit isn't a number."""
    import numpy as np

    if min(labels.min(), predicted.min()) < 0:
        raise ValueError("a class is negative")
    if logits is None:
        return
    if logits.ndim != 2 or logits.dtype.kind != "f":
        raise ValueError(f"its logits have shape {logits.shape} and type {logits.dtype}")
    if max(labels.max(), predicted.max()) >= logits.shape[1]:
        raise ValueError(f"it has logits of {logits.shape[1]} classes, and a class beyond them")
    # row by row the answer is small, however many logits there are
    if not all(np.isfinite(row).all() for row in logits):
        raise ValueError("its logits hold NaN or infinity")


def _half(logits: npt.NDArray[np.floating]) -> npt.NDArray[np.float16]:
    """Return logits in half precision, clipped to its range, a few rows at a time: they may be most of the memory."""
    import numpy as np

    half = np.empty(logits.shape, dtype=np.float16)
    step = max(1, 2**20 // max(1, logits.shape[1]))
    for start in range(0, len(logits), step):
        part = slice(start, start + step)
        half[part] = np.clip(logits[part].astype(np.float64), -HALF_MAX, HALF_MAX)
    return half


def _largest(logits: npt.NDArray[np.floating] | None) -> npt.NDArray[np.int64]:
    if logits is None:
        raise ValueError("it has neither predicted classes nor logits")
    return logits.argmax(axis=1)


def read_archive(root: Path, folder: Path, record: RunRecord, test: FurtherTest | None = None) -> tuple[bytes, Path]:
    """Return the bytes of the archive that a record names, and its path; ``folder`` is where it must lie, resolved.

    With a ``test`` it is that of one of the record's further test sets.

    Raises
    ------
    ResultsError
        If the record names none, or it is missing or not the one that was written.
    """
    kept: RunRecord | FurtherTest = record if test is None else test
    if kept.predictions is None:
        of = "" if test is None else f" on the test set {test.name!r}"
        raise ResultsError(
            f"the run {record.record_key} kept no predictions{of}", "run its cell again with --overwrite always"
        )
    path = root / kept.predictions
    if not path.resolve().is_relative_to(folder):
        raise ResultsError(f"the run {record.record_key} names predictions outside of its folder: {kept.predictions!r}")
    try:
        data = read_regular(path)
    except OSError as error:
        raise ResultsError(
            f"can't read the predictions {str(path)!r}: {error.strerror}", "run its cell again with --overwrite always"
        ) from error
    if hashlib.sha256(data).hexdigest() != kept.predictions_sha256:
        raise ResultsError(
            f"the predictions {str(path)!r} have changed since their run", "run its cell again with --overwrite always"
        )
    return data, path
