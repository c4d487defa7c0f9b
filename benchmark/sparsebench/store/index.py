"""The index of a results folder: the tidy table's rows as they were last gathered, so that 100,000 take seconds.

It is a cache, ``index.npz``, and never the truth. A row counts only while its record's file has the name, size and
date that it was made from; the others are read from their records. Deleting it is safe, and a damaged or foreign one
is made anew. It holds plain arrays and JSON, no objects, and ends with its own hash.

Texts and integers are kept as their different values (JSON) and small codes, numbers as doubles.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from .. import files
from ..schema import SCHEMA_VERSION
from ..version import __version__
from .columns import COLUMNS, KINDS, row
from .recordfile import load
from .servertime import server_time_ns

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Rows: TypeAlias = "dict[str, npt.NDArray[Any]]"
"""Column to values, of equal lengths: objects (str, int or None) for texts and integers, doubles for numbers."""

_FORMAT = 1
_RACY_NS = 3_000_000_000
"""A file written so shortly before it was read may be written again without a new date: it is read once more."""
_DAMAGE = (OSError, ValueError, KeyError, EOFError, TypeError, IndexError, AttributeError, RecursionError,
           RuntimeError, zipfile.BadZipFile, zlib.error)  # fmt: skip
"""What reading a file that isn't an index may raise."""

_HASH = 32
"""Its sha256 stands at its end, in so many bytes."""

_FEW = 50
"""So many changed records are gathered without writing the index again, or one in a hundred."""


def gather(file: Path, folder: Path, paths: Sequence[str]) -> Rows:
    """Return a row a run from the record files ``paths`` below ``folder``, and bring the index ``file`` up to date.

    Raises
    ------
    ResultsError
        If a record is of a newer schema than this version reads.
    """
    import numpy as np

    current = _dates(folder, paths)
    known = _read(file)
    names, dates = list(current), np.array(list(current.values()), dtype=np.int64).reshape(-1, 2)
    position = {name: i for i, name in enumerate(known["file"].tolist())}
    at = np.array([position.get(name, -1) for name in names], dtype=np.int64)
    same = at >= 0
    same[same] = (np.stack([known["size"], known["date"]], axis=1)[at[same]] == dates[same]).all(axis=1)
    changed = len(names) + len(known["file"]) - 2 * int(same.sum())
    renew = changed > max(_FEW, len(names) // 100)
    now = server_time_ns(file.parent) if renew else 0
    fresh = _rows_of(folder, [names[i] for i in np.flatnonzero(~same)], dates[~same])
    columns = {name: np.concatenate([known[name][at[same]], fresh[name]]) for name in known}
    if renew:
        with contextlib.suppress(OSError):  # a read-only or full disk: the next gathering reads the records again
            files.write_bytes(file, _encode(columns, now))
    return _one_a_run(columns)


def _dates(folder: Path, paths: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Return size and date by name below ``folder``; a file that has just gone is left out."""
    start, found = len(str(folder)) + 1, {}
    for path in paths:
        try:
            status = os.stat(path)  # noqa: PTH116 - making 100,000 paths takes longer than asking for their dates
            found[path[start:]] = status.st_size, status.st_mtime_ns
        except OSError:
            if os.path.islink(path):  # noqa: PTH114 - a link to nothing is named when it is read
                found[path[start:]] = -1, -1
    return found


def _rows_of(folder: Path, names: Sequence[str], dates: npt.NDArray[np.int64]) -> Rows:
    """Read records into columns; damaged ones give a warning and no row."""
    import numpy as np

    kinds = _columns()
    found: dict[str, list[Any]] = {name: [] for name in kinds}
    for name, (size, date) in zip(names, dates.tolist(), strict=True):
        record = load(folder / name)
        if record is not None:
            values = row(record) | {"file": name, "size": size, "date": date}
            for column, sofar in found.items():
                sofar.append(values.get(column))
    return {
        column: _objects(values) if _DTYPES[kinds[column]] == "object" else np.array(values, _DTYPES[kinds[column]])
        for column, values in found.items()
    }


_DTYPES = {"number": "float64", "date": "int64", "integer": "object", "text": "object"}


def _columns() -> dict[str, str]:
    """Return the kinds of all columns: those of the table, and what tells that a row is still true."""
    return {**KINDS, "file": "text", "size": "date", "date": "date"}


def _one_a_run(columns: Rows) -> Rows:
    """Return the table's columns with a row a run; of several, the finished one, then the one that started last."""
    import numpy as np

    ids = columns["record_key"].tolist()
    if len(set(ids)) == len(ids):
        return {name: columns[name] for name in COLUMNS}
    ranks = zip((s == "ok" for s in columns["status"]), columns["started"], columns["file"], strict=True)
    best: dict[str, tuple[tuple[bool, str, str], int]] = {}
    for i, (key, rank) in enumerate(zip(ids, ranks, strict=True)):
        if key not in best or best[key][0] < rank:
            best[key] = rank, i
    keep = np.array([i for _, i in best.values()], dtype=np.int64)
    return {name: columns[name][keep] for name in COLUMNS}


def _read(path: Path) -> Rows:
    """Return the columns of an index; empty ones where there is none that can be used."""
    import numpy as np

    empty = {name: np.zeros(0, dtype=_DTYPES[kind]) for name, kind in _columns().items()}
    try:
        data = files.read_regular(path)
        if hashlib.sha256(data[:-_HASH]).digest() != data[-_HASH:]:
            return empty
        with np.load(io.BytesIO(data[:-_HASH]), allow_pickle=False) as archive:
            if archive["about"].tobytes() != _about():
                return empty
            columns = {name: _decode(archive, name, kind) for name, kind in _columns().items()}
    except _DAMAGE:
        return empty
    return columns if len({len(values) for values in columns.values()}) == 1 else empty


def _about() -> bytes:
    """Return what an index is made for; one of another version isn't read."""
    return json.dumps([_FORMAT, SCHEMA_VERSION, __version__, _columns()]).encode()


def _decode(archive: Any, name: str, kind: str) -> npt.NDArray[Any]:
    if kind in ("number", "date"):
        values = archive[name]
        if values.dtype != _DTYPES[kind] or values.ndim != 1:
            raise ValueError(name)
        return values
    return _objects(json.loads(archive[f"{name}.values"].tobytes()))[archive[f"{name}.codes"]]


def _encode(columns: Rows, now: int) -> bytes:
    import numpy as np

    arrays: dict[str, Any] = {"about": np.frombuffer(_about(), dtype=np.uint8)}
    for name, kind in _columns().items():
        values = columns[name]
        if kind in ("number", "date"):
            arrays[name] = values
            continue
        codes: dict[Any, int] = {}
        coded = [codes.setdefault(value, len(codes)) for value in values.tolist()]
        arrays[f"{name}.codes"] = np.array(coded, dtype=np.min_scalar_type(max(len(codes) - 1, 0)))
        arrays[f"{name}.values"] = np.frombuffer(json.dumps(list(codes)).encode(), dtype=np.uint8)
    arrays["size"] = np.where(columns["date"] > now - _RACY_NS, -1, columns["size"])  # these never count as the same
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue() + hashlib.sha256(buffer.getbuffer()).digest()


def _objects(values: Sequence[Any]) -> npt.NDArray[np.object_]:
    """Return a list as an array of objects, whatever they are."""
    import numpy as np

    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array
