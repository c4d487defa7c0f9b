"""Predicted classes of many runs, read without their logits."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from ..common.paths import root_file
from ..schema import ResultsError, RunRecord
from .curated import FILE, read_curated_classes
from .frame import PUBLISHED
from .predictions import Predictions, read_archive, warn_damaged
from .records import Store

Reader = Callable[[Collection[str]], Iterator[tuple[str, Predictions]]]
"""Yields the predicted classes of those of the runs named that kept them, each with its record key."""

_READERS = 2
_AHEAD = 8  # files in memory at once


def classes_reader(results: Path | str, *, strict: bool = False) -> Reader:
    """Return the reader of the predicted classes that were kept with results.

    Parameters
    ----------
    results : Path or str
        As for :func:`~sparsebench.store.read_results`: a results folder with its predictions, or a curated file or
        folder, which may have a ``predictions.npz`` beside it.
    strict : bool
        Raise for a damaged file; without it, a warning names the file once, and its runs are left out.
    """
    path = root_file("results/published/runs.csv").parent if results == PUBLISHED else Path(results)
    if path.is_dir() and (path / "records").is_dir():
        damaged: set[str] | None = None if strict else set()

        def stored(keys: Collection[str]) -> Iterator[tuple[str, Predictions]]:
            records = [record for record in Store(path).read(set(keys) - (damaged or set())) if _is_there(path, record)]
            for record, kept in read_classes(path, records, damaged):
                yield record.record_key, kept

        return stored
    file = (path if path.is_dir() else path.parent) / FILE

    def curated(keys: Collection[str]) -> Iterator[tuple[str, Predictions]]:
        if file.exists():
            try:
                yield from read_curated_classes(file, keys)
            except ResultsError as error:
                if strict:
                    raise
                warn_damaged(error)

    return curated


def _is_there(root: Path, record: RunRecord) -> bool:
    return record.predictions is not None and (root / record.predictions).exists()


def read_classes(
    root: Path, records: Sequence[RunRecord], damaged: set[str] | None = None
) -> Iterator[tuple[RunRecord, Predictions]]:
    """Yield the predicted classes of stored records, in order; a few files are read ahead.

    Runs on the same images share one tuple of ids.

    Parameters
    ----------
    root : Path
        The results folder.
    records : sequence of RunRecord
        Records that kept predictions.
    damaged : set of str, optional
        Gets the keys of records whose predictions can't be read: a warning names each, and it is left out.

    Raises
    ------
    ResultsError
        Without ``damaged``, if a record kept none, or they are missing, damaged or not those that were written.
    """
    known: dict[bytes, tuple[str, ...]] = {}
    folder = (Path(root) / "predictions").resolve()

    def read(record: RunRecord) -> Predictions:
        data, path = read_archive(Path(root), folder, record)
        return Predictions.from_bytes(data, str(path), logits=False, known=known)

    with ThreadPoolExecutor(_READERS) as pool:
        left = iter(records)
        queue = [(record, pool.submit(read, record)) for record in islice(left, _AHEAD)]
        while queue:
            record, future = queue.pop(0)
            queue += [(following, pool.submit(read, following)) for following in islice(left, 1)]
            try:
                kept = future.result()
            except ResultsError as error:
                if damaged is None:
                    raise
                damaged.add(record.record_key)
                warn_damaged(error)
            else:
                yield record, kept
