"""The results folder: one JSON file a run, its predictions beside it, each written whole or not at all.

Layout below the root::

    records/<checkpoint>/<task>/<mode>[.<probe>].seed<k>.<run id>.json
    predictions/<run id>.<first digits of its sha256>.npz
    plans/

Any number of processes may write into one folder. A file's name is made of its run, so writers of one run replace each
other's file. Predictions are named by content: a record that is being replaced keeps its own until the new one stands.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from .. import files
from ..schema import SCHEMA_VERSION, ResultsError, RunError, RunRecord, Status
from .names import safe_name
from .predictions import Predictions
from .writable import ensure_writable


class DamagedRecordWarning(UserWarning):
    """A record file that can't be read; its run counts as missing and is run again."""


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
        self._known: dict[str, Path] | None = None

    def check_writable(self) -> None:
        """Check that records can be written, before any is; leave nothing behind.

        Raises
        ------
        ResultsError
            If the folder, or one that it needs inside, can't be created or written to.
        """
        for folder in (self.root, self.records_dir, self.predictions_dir, self.plans_dir):
            ensure_writable(folder)

    def sweep(self, older_than: float = 3600.0) -> int:
        """Remove what killed writers left: temporary files older than so many seconds. Return how many there were."""
        count, oldest = 0, time.time() - older_than
        for path in self.root.rglob(".*.tmp"):
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < oldest:
                    path.unlink()
                    count += 1
        return count

    def path_of(self, record: RunRecord) -> Path:
        """Return where a record belongs."""
        spec = record.spec
        kind = spec.mode if spec.probe is None else f"{spec.mode}.{spec.probe}"
        name = f"{kind}.seed{spec.seed}.{safe_name(record.run_id)}.json"
        return self.records_dir / safe_name(spec.checkpoint) / safe_name(spec.task) / name

    def write(self, record: RunRecord, predictions: Predictions | None = None) -> RunRecord:
        """Write a record, its predictions first, and replace the run's older record if there is one.

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
            raise RunError(f"the finished run {record.run_id} has no accuracy", "record it as failed, with the reason")
        path = self.path_of(record)
        older, created = self._older(record.run_id, path), None
        try:
            if predictions is not None:
                record, created = self._write_predictions(record, predictions)
            files.write_bytes(path, _to_json(record))
            _sync_folder(path.parent)
        except OSError as error:
            if created is not None and created.name not in _predictions_named_by(path):
                with contextlib.suppress(OSError):
                    created.unlink()
            raise RunError(
                f"can't write the record {str(path)!r}: {error.strerror or error}",
                f"free space on, or repair access to, {str(self.root)!r}, then run the same command again",
            ) from error
        if self._known is not None:
            self._known[record.run_id] = path
        self._remove_older(older, path, record.predictions)
        return record

    def write_failure(self, record: RunRecord) -> None:
        """Write the record of a failed run, unless a finished one of the same run stands: failures lose no result.

        Raises
        ------
        RunError
            If it can't be written.
        """
        path = self.path_of(record)
        before = _load(path) if path.exists() else None
        if before is None or before.status != "ok":
            self.write(record)

    def read(self) -> list[RunRecord]:
        """Return all records, sorted by checkpoint, task, mode, probe, seed and id; a damaged one gives a warning.

        Raises
        ------
        ResultsError
            If a record is of a newer schema than this version reads.
        """
        found: dict[str, RunRecord] = {}
        for path in self._paths():
            record = _load(path)
            if record is None:
                continue
            other = found.get(record.run_id)
            # one run under two labels, as two writers may leave it: the one that started last counts
            if other is None or (other.started, _to_json(other)) < (record.started, _to_json(record)):
                found[record.run_id] = record
        return sorted(found.values(), key=_order)

    def statuses(self) -> dict[str, Status]:
        """Return the status of every run that has a (readable) record."""
        return {record.run_id: record.status for record in self.read()}

    def predictions(self, record: RunRecord) -> Predictions:
        """Return the predictions that a stored record names.

        Raises
        ------
        ResultsError
            If it names none, or they are missing or not those that were written.
        """
        if record.predictions is None:
            raise ResultsError(f"the run {record.run_id} kept no predictions", "run its cell again")
        path = self.root / record.predictions
        if not path.resolve().is_relative_to(self.predictions_dir.resolve()):
            raise ResultsError(
                f"the run {record.run_id} names predictions outside of its folder: {record.predictions!r}"
            )
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ResultsError(
                f"can't read the predictions {str(path)!r}: {error.strerror}", "run its cell again"
            ) from error
        if hashlib.sha256(data).hexdigest() != record.predictions_sha256:
            raise ResultsError(f"the predictions {str(path)!r} have changed since their run", "run its cell again")
        return Predictions.from_bytes(data, str(path))

    def _write_predictions(self, record: RunRecord, predictions: Predictions) -> tuple[RunRecord, Path | None]:
        """Write the archive; return the record that names it, and the archive's path if it is new."""
        data = predictions.to_bytes()
        sha256 = hashlib.sha256(data).hexdigest()
        path = self.predictions_dir / f"{safe_name(record.run_id)}.{sha256[:12]}.npz"
        new = not path.exists()
        files.write_bytes(path, data)
        _sync_folder(path.parent)
        name = path.relative_to(self.root).as_posix()
        return record.model_copy(update={"predictions": name, "predictions_sha256": sha256}), path if new else None

    def _older(self, run_id: str, path: Path) -> dict[Path, tuple[int, int]]:
        """Return the files that a new record of the run makes obsolete, each with its inode and time of change."""
        if self._known is None:
            self._known = {p.name.split(".")[-2]: p for p in self._paths()}
        older: dict[Path, tuple[int, int]] = {}
        for file in {path, self._known.get(safe_name(run_id), path)}:
            names = _predictions_named_by(file)
            for candidate in [file, *(self.predictions_dir / name for name in names)]:
                with contextlib.suppress(OSError):
                    older[candidate] = _identity(candidate)
        return older

    def _remove_older(self, older: dict[Path, tuple[int, int]], path: Path, predictions: str | None) -> None:
        """Delete what the new record replaced, unless another writer has renewed it in the meantime."""
        keep = {path} if predictions is None else {path, self.root / predictions}
        for file, identity in older.items():
            with contextlib.suppress(OSError):
                if file not in keep and _identity(file) == identity:
                    file.unlink()

    def _paths(self) -> Iterator[Path]:
        """Yield the record files, sorted; temporary files (with a leading dot) are none.

        Raises
        ------
        ResultsError
            If the folder exists and can't be listed.
        """
        try:
            for checkpoint in _subfolders(self.records_dir):
                for task in _subfolders(checkpoint):
                    with os.scandir(task) as entries:
                        names = sorted(e.name for e in entries)
                    yield from (task / n for n in names if n.endswith(".json") and not n.startswith("."))
        except OSError as error:
            raise ResultsError(f"can't list the records in {str(self.records_dir)!r}: {error.strerror}") from error


def _subfolders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(e.path) for e in entries if e.is_dir() and not e.name.startswith("."))
    except FileNotFoundError:
        return []


def _to_json(record: RunRecord) -> bytes:
    data = _finite(record.model_dump(mode="json"))
    return (json.dumps(data, indent=1, sort_keys=True, ensure_ascii=True, allow_nan=False) + "\n").encode()


def _finite(value: Any) -> Any:
    """Return ``value`` with null in place of what JSON has no number for (the infinite loss of a diverged run)."""
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _load(path: Path) -> RunRecord | None:
    """Read one record; a damaged one gives a warning and None, one that has just gone gives None."""
    try:
        data = json.loads(path.read_bytes())
        if not isinstance(data, dict):
            raise ValueError("it holds no JSON object")
        _refuse_newer(data, path)
        record = RunRecord.model_validate(data)
        if record.status == "ok" and record.scores is None:
            raise ValueError("it is finished but has no scores")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        warnings.warn(
            f"the record {str(path)!r} is damaged and counts as missing: {_reason(error)}",
            DamagedRecordWarning,
            stacklevel=4,
        )
        return None
    return record


def _refuse_newer(data: dict[str, Any], path: Path) -> None:
    version = data.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise ResultsError(
            f"the record {str(path)!r} has schema version {version}, this sparsebench reads up to {SCHEMA_VERSION}",
            "upgrade sparsebench, or use another results folder",
        )


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error)


def _predictions_named_by(path: Path) -> list[str]:
    """Return the name (without folder) of the predictions that a record file names, if it is readable and names any."""
    try:
        name = json.loads(path.read_bytes())["predictions"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []
    return [Path(name).name] if isinstance(name, str) and name else []


def _identity(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_ino, status.st_mtime_ns


def _order(record: RunRecord) -> tuple[str, str, str, str, int, str]:
    spec = record.spec
    return spec.checkpoint, spec.task, spec.mode, spec.probe or "", spec.seed, record.run_id


def _sync_folder(folder: Path) -> None:
    """Make a rename durable, where the system lets a folder be flushed."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
