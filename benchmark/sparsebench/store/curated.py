"""Predicted classes of curated runs in one small file, ``predictions.npz``, beside their table."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..common import files
from ..common.files import read_regular
from ..schema import ResultsError
from .predictions import Predictions

if TYPE_CHECKING:
    import numpy as np

FILE = "predictions.npz"
_MOST = 2**30  # bytes that the arrays may unpack to


def write_classes(file: Path, kept: Iterable[tuple[str, Predictions]]) -> int:
    """Write the predicted classes of runs, atomically; equal runs in any order give equal bytes.

    Parameters
    ----------
    file : Path
        The file, by convention :data:`FILE`.
    kept : iterable of (record key, Predictions)
        Logits are left out.

    Returns
    -------
    int
        How many runs were written.

    Raises
    ------
    ResultsError
        If the file can't be written.
    """
    import numpy as np

    sets: dict[tuple[tuple[str, ...], bytes], dict[str, Predictions]] = {}
    for key, own in kept:
        sets.setdefault((own.ids, own.labels.tobytes()), {})[key] = own
    ordered = sorted(sets.items(), key=lambda item: item[0])
    index = [{"ids": list(ids), "runs": sorted(runs)} for (ids, _), runs in ordered]
    arrays: dict[str, Any] = {"index": np.frombuffer(json.dumps(index, separators=(",", ":")).encode(), np.uint8)}
    for number, (_, runs) in enumerate(ordered):
        predicted = np.stack([runs[key].predicted for key in sorted(runs)])
        for name, values in (("labels", next(iter(runs.values())).labels), ("predicted", predicted)):
            arrays[f"{name}_{number}"] = values.astype(np.min_scalar_type(int(values.max(initial=0))))
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    try:
        files.write_bytes(file, buffer.getvalue())
    except OSError as error:
        raise ResultsError(f"can't write {str(file)!r}: {error.strerror or error}") from error
    return sum(len(runs) for runs in sets.values())


def read_curated_classes(file: Path, keys: Collection[str]) -> Iterator[tuple[str, Predictions]]:
    """Yield the predicted classes of those of the runs that the file has.

    Raises
    ------
    ResultsError
        If the file can't be read or is not one of predicted classes.
    """
    import numpy as np

    try:
        data = read_regular(file)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(item.file_size for item in archive.infolist()) > _MOST:
                raise ValueError(f"its arrays take more than {_MOST >> 20} MiB")
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            sets = [
                (entry, arrays[f"labels_{number}"], arrays[f"predicted_{number}"])
                for number, entry in enumerate(json.loads(arrays["index"].tobytes()))
            ]
        found = [_checked(*one) for one in sets]
    except (OSError, ValueError, KeyError, EOFError, TypeError, AttributeError, MemoryError, RecursionError,
            NotImplementedError, zipfile.BadZipFile, zlib.error) as error:  # fmt: skip
        raise ResultsError(f"{str(file)!r} is not a file of predicted classes: {error}", "curate it again") from error
    for ids, runs, labels, predicted in found:
        for key, row in zip(runs, predicted, strict=True):
            if key in keys:
                yield key, Predictions(ids, labels, row.astype(np.int64))


def _checked(
    entry: dict[str, list[str]], labels: np.ndarray, predicted: np.ndarray
) -> tuple[tuple[str, ...], list[str], np.ndarray, np.ndarray]:
    """Return ids, runs, labels and predicted classes of one set of images, once they fit one another."""
    ids, runs = tuple(map(str, entry["ids"])), [str(key) for key in entry["runs"]]
    if labels.shape != (len(ids),) or predicted.shape != (len(runs), len(ids)):
        raise ValueError("its arrays have different lengths")
    if labels.dtype.kind not in "iu" or predicted.dtype.kind not in "iu":
        raise ValueError("its classes are not whole numbers")
    return ids, runs, labels.astype("int64"), predicted
