"""The results folder: one JSON file per run, its predictions beside it, each written whole or not at all.

Layout below the root::

    records/<checkpoint>/<task>/<mode>[.<probe>].seed<k>.<record key>.json
    predictions/<record key>.<first digits of its sha256>.npz
    plans/  claims/

Any number of processes may write into one folder. A file's name is made of its record's key, so writers of one replace
each other's file; where they call its checkpoint or task by different names, each looks afterwards and one file stays.
Predictions are named by content: a record that is being replaced keeps its own until the new one is there.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..common import files
from ..common.filenames import safe_name
from ..schema import RunError, RunRecord, RunSpec, UnknownNameError
from .claims import Claims
from .columns import COLUMNS
from .gathering import Rows, gather
from .listing import Listing
from .predictions import Predictions, read_archive
from .recordfile import load, predictions_named_by, preference, to_json
from .servertime import server_time_ns
from .writable import ensure_writable


@dataclass(frozen=True)
class Found:
    """A run's record on disk, and the file's date in nanoseconds, by the file system's clock."""

    record: RunRecord
    written_ns: int


class Store:
    """Records below one folder.

    Parameters
    ----------
    root : Path
        The results folder; created by the first write.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self.records_dir = self.root / "records"
        self.predictions_dir = self.root / "predictions"
        self.plans_dir = self.root / "plans"
        self.claims_dir = self.root / "claims"
        self._listing = Listing(self.records_dir)
        self._upgraded: dict[Path, str] = {}  # files of schema 1 to the keys of their records

    def check_writable(self) -> None:
        """Check that records can be written, before any is; leave nothing behind.

        Raises
        ------
        ResultsError
            If the folder, or one that it needs inside, can't be created or written to.
        """
        for folder in (self.root, self.records_dir, self.predictions_dir, self.plans_dir, self.claims_dir):
            ensure_writable(folder)

    def sweep(self, older_than: float = 3600.0) -> int:
        """Remove what killed processes left; return how many files that were.

        That is: temporary files that are older than so many seconds, and claims that no longer hold.
        """
        count, oldest = Claims(self.root).sweep(), server_time_ns(self.root) - older_than * 1e9
        for path in self.root.rglob(".*.tmp"):
            with contextlib.suppress(OSError):
                if path.stat().st_mtime_ns < oldest:
                    path.unlink()
                    count += 1
        return count

    def path_of(self, record: RunRecord) -> Path:
        """Return where a record belongs."""
        return self._path(record.spec, record.record_key)

    def _path(self, spec: RunSpec, key: str) -> Path:
        kind = spec.mode if spec.probe is None else f"{spec.mode}.{spec.probe}"
        name = f"{kind}.seed{spec.seed}.{safe_name(key)}.json"
        return self.records_dir / safe_name(spec.checkpoint) / safe_name(spec.task) / name

    def find(self, spec: RunSpec) -> Found | None:
        """Return the record that a run with its numerics has now, whoever has written it and under whatever names.

        Raises
        ------
        ResultsError
            If the folder can't be listed, or the record is of a newer schema than this version reads.
        """
        key = spec.record_key
        self._listing.refresh(certainly=self._path(spec, key).parent)
        found: list[tuple[tuple[bool, str, str], Found]] = []
        for path in self._files_of(key):
            record = load(path)
            if record is not None and record.record_key == key:
                with contextlib.suppress(OSError):
                    found.append((preference(record, path), Found(record, path.stat().st_mtime_ns)))
        return max(found, key=lambda pair: pair[0])[1] if found else None

    def write(
        self,
        record: RunRecord,
        predictions: Predictions | None = None,
        further: Mapping[str, Predictions] | None = None,
    ) -> RunRecord:
        """Write a record, its predictions first, and replace the run's older record if there is one.

        Parameters
        ----------
        record : RunRecord
            The record.
        predictions : Predictions, optional
            Those on test; without any, the record keeps the ones that it names.
        further : mapping of str to Predictions, optional
            Those on further test sets, by name, likewise.

        Returns
        -------
        RunRecord
            The record as stored, with the name and hash of its predictions.

        Raises
        ------
        RunError
            If it can't be written (a full disk, say). Earlier records, also one of the same run, are then intact, and
            no partial file is left.
        """
        scores = record.scores
        if record.status == "ok" and (scores is None or not math.isfinite(scores.top1 + scores.mean_per_class)):
            raise RunError(
                f"the finished run {record.record_key} has no accuracy", "record it as failed, with the reason"
            )
        path = self.path_of(record)
        older, created = self._older(record.record_key, path), list[Path]()
        try:
            if predictions is not None:
                record = record.model_copy(update=self._write_archive(record.record_key, predictions, created))
            if further:
                tests = {
                    name: record.tests[name].model_copy(update=self._write_archive(record.record_key, own, created))
                    for name, own in further.items()
                }
                record = record.model_copy(update={"tests": {**record.tests, **tests}})
            files.write_bytes(path, to_json(record))
            _sync_folder(path.parent)
        except OSError as error:
            for archive in created:
                if archive.name not in predictions_named_by(path):
                    with contextlib.suppress(OSError):
                        archive.unlink()
            raise RunError(
                f"can't write the record {str(path)!r}: {error.strerror or error}",
                f"free space on, or repair access to, {str(self.root)!r}, then run the same command again",
            ) from error
        self._remove_older(older, path, record)
        self._leave_one(record, path)
        return record

    def write_failure(self, record: RunRecord) -> None:
        """Write the record of a failed run, unless there is a finished one of the same run.

        A failure replaces no result.

        Raises
        ------
        RunError
            If it can't be written.
        """
        before = self.find(record.spec)
        if before is None or before.record.status != "ok":
            self.write(record)

    def read(self, keys: Collection[str] | None = None) -> list[RunRecord]:
        """Return all records, or those of some keys, sorted by checkpoint, task, mode, probe, seed and key.

        A key is a record key, or a run id, which stands for its records of any numerics. A damaged one
        gives a warning and is left out. Where there are very many, :meth:`rows` takes less time and memory.

        Raises
        ------
        ResultsError
            If a record is of a newer schema than this version reads.
        """
        self._listing.refresh()
        wanted = None if keys is None else set(keys)
        if wanted is None:
            paths = [Path(path) for path in self._listing.files()]
        else:
            paths = list(dict.fromkeys(path for key in wanted for path in self._files_of(key)))
        found: dict[str, tuple[tuple[bool, str, str], RunRecord]] = {}
        for path in paths:
            record = load(path)
            if record is not None and (wanted is None or wanted & {record.run_id, record.record_key}):
                rank = preference(record, path)
                # one run under two labels, as a killed writer may leave it: one of them counts
                if record.record_key not in found or found[record.record_key][0] < rank:
                    found[record.record_key] = rank, record
        return sorted((record for _, record in found.values()), key=_order)

    def of_schema_1(self) -> Iterator[RunRecord]:
        """Yield the records that are still in files of schema 1."""
        self._listing.refresh()
        for path in self._listing.of_schema_1():
            record = load(path)
            if record is not None:
                yield record

    def rows(self, columns: Sequence[str] = COLUMNS) -> Rows:
        """Return columns of the tidy table, all by default, one row per record key, in no order.

        Raises
        ------
        ResultsError
            If a record is of a newer schema than this version reads.
        """
        self._listing.refresh()
        return gather(self._listing.files(), columns)

    def _files_of(self, key: str) -> list[Path]:
        """Return the files that may hold the record of a key (or the records of a run id), as of the last refresh.

        A file of schema 1 is named by the run id that it had then, which may have been another: its contents say.
        """
        return list(dict.fromkeys([*self._listing.of(safe_name(key)), *self._of_schema_1(key)]))

    def _of_schema_1(self, key: str) -> list[Path]:
        for path in self._listing.of_schema_1():
            if path not in self._upgraded and (record := load(path)) is not None:
                self._upgraded[path] = record.record_key
        return [path for path in self._listing.of_schema_1() if self._upgraded.get(path, "").startswith(key)]

    def predictions(self, record: RunRecord) -> Predictions:
        """Return the predictions that a stored record names.

        Raises
        ------
        ResultsError
            If it names none, or they are missing or not those that were written.
        """
        data, path = read_archive(self.root, self.predictions_dir.resolve(), record)
        fitted = None if record.scores is None else record.scores.temperature
        return replace(Predictions.from_bytes(data, str(path)), temperature=fitted)

    def further_predictions(self, record: RunRecord, name: str) -> Predictions:
        """Return the predictions on a further test set that a stored record names.

        Raises
        ------
        UnknownNameError
            If the run wasn't scored on a test set of this name.
        ResultsError
            If its predictions weren't kept, or are missing or not those that were written.
        """
        if name not in record.tests:
            raise UnknownNameError(f"test set of the run {record.record_key}", name, record.tests)
        data, path = read_archive(self.root, self.predictions_dir.resolve(), record, record.tests[name])
        return Predictions.from_bytes(data, str(path))

    def _write_archive(self, key: str, predictions: Predictions, created: list[Path]) -> dict[str, str]:
        """Write an archive, and return its name and hash as a record has them; a new one's path is added to a list."""
        data = predictions.to_bytes()
        sha256 = hashlib.sha256(data).hexdigest()
        path = self.predictions_dir / f"{safe_name(key)}.{sha256[:12]}.npz"
        if not path.exists():
            created.append(path)
        files.write_bytes(path, data)
        _sync_folder(path.parent)
        return {"predictions": path.relative_to(self.root).as_posix(), "predictions_sha256": sha256}

    def _older(self, key: str, path: Path) -> dict[Path, tuple[int, int]]:
        """Return the files that a new record of the key makes obsolete, each with its inode and time of change."""
        self._listing.refresh(certainly=path.parent)
        older: dict[Path, tuple[int, int]] = {}
        for file in {path, *self._files_of(key)}:
            names = predictions_named_by(file)
            for candidate in [file, *(self.predictions_dir / name for name in names)]:
                if (found := files.identity(candidate)) is not None:
                    older[candidate] = found
        return older

    def _leave_one(self, record: RunRecord, path: Path) -> None:
        """Remove all but one of the files that the run has by now, should others have written it under other names.

        Whoever writes last sees them all, and everyone chooses alike, so that just one stays.
        """
        self._listing.refresh(certainly=path.parent)
        others = [other for other in self._files_of(record.record_key) if other != path]
        known = [(preference(other, file), file) for file in others if (other := load(file)) is not None]
        if not known:
            return
        *rest, (_, keep) = sorted([(preference(record, path), path), *known])
        kept = set(predictions_named_by(keep))
        for _, file in rest:
            unused = [self.predictions_dir / name for name in predictions_named_by(file) if name not in kept]
            for obsolete in [file, *unused]:
                with contextlib.suppress(OSError):
                    obsolete.unlink()

    def _remove_older(self, older: dict[Path, tuple[int, int]], path: Path, record: RunRecord) -> None:
        """Delete what the new record replaced, unless another writer has renewed it in the meantime."""
        names = [record.predictions, *(test.predictions for test in record.tests.values())]
        keep = {path, *(self.root / name for name in names if name is not None)}
        for file, identity in older.items():
            with contextlib.suppress(OSError):
                if file not in keep and files.identity(file) == identity:
                    file.unlink()


def _order(record: RunRecord) -> tuple[str, str, str, str, int, str]:
    spec = record.spec
    return spec.checkpoint, spec.task, spec.mode, spec.probe or "", spec.seed, record.record_key


def _sync_folder(folder: Path) -> None:
    """Make a rename durable, where the system lets a folder be flushed."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
