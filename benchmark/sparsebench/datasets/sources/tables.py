"""Parquet tables of images: their labels, their images by row, and the check that every image is whole.

pyarrow reads them, a row group at a time. Images are bytes, or what the hub calls an image: a structure with ``bytes``
and ``path``.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from ...caching import read_document, write_document
from ...schema import DatasetError, InputError
from ..images.decode import check_data, rgb_of
from ..splits.splitting import SplitName

if TYPE_CHECKING:
    from PIL import Image

_VERSION = 1
_HELD = 256 * 2**20
_AGAIN = "fetch it again"


@dataclass(frozen=True)
class Table:
    """One file: its labels by row, and where its row groups start.

    Parameters
    ----------
    path : Path
        The file.
    name : str
        Its path below the data set's folder.
    column : str
        The column of the images' bytes.
    labels : tuple of int or str
        The label of each row.
    names : tuple of str or None
        The classes' names, where the file declares them.
    groups : tuple of int
        The first row of each row group, and the number of rows.
    """

    path: Path
    name: str
    column: str
    labels: tuple[int | str, ...] = field(repr=False)
    names: tuple[str, ...] | None
    groups: tuple[int, ...] = field(repr=False)

    @classmethod
    def of(cls, folder: Path, name: str, image: str, label: str) -> Table:
        """Read a file's labels.

        Raises
        ------
        DatasetError
            If it is damaged, lacks a column, or a row has no label.
        """
        path = folder / name
        with _reading(path) as file:
            schema = file.schema_arrow
            lacking = [column for column in (image, label) if column not in schema.names]
            if lacking:
                raise DatasetError(
                    f"{path}: has no column {lacking[0]!r}, but {', '.join(schema.names)}",
                    hint="name the columns: options: {image: COLUMN, label: COLUMN}",
                )
            column = _bytes_column(path, image, schema.field(image).type)
            values = file.read(columns=[label]).column(0).to_pylist()
            names = _declared(schema.metadata, label)
            sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        for row, value in enumerate(values):
            if isinstance(value, bool) or not isinstance(value, int | str):
                what = "has no label" if value is None else f"has the label {str(value)[:40]!r}"
                raise DatasetError(f"{path}, row {row}: {what}", hint=f"labels are whole numbers or names: see {label}")
        starts = [0]
        for size in sizes:
            starts.append(starts[-1] + size)
        return cls(path, name, column, tuple(values), names, tuple(starts))

    def group(self, number: int) -> list[bytes | None]:
        """Return the bytes of a row group's images; None where a row has none."""
        with _reading(self.path) as file:
            found = file.read_row_group(number, columns=[self.column]).flatten()
            values: list[bytes | None] = found.column(found.num_columns - 1).to_pylist()
            return values


def _bytes_column(path: Path, image: str, kind: Any) -> str:
    from pyarrow import types

    if types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        return f"{image}.bytes"
    if types.is_binary(kind) or types.is_large_binary(kind):
        return image
    raise DatasetError(f"{path}: column {image!r} holds no images but {kind}", hint="name the column of the images")


def _declared(metadata: Mapping[bytes, bytes] | None, label: str) -> tuple[str, ...] | None:
    """Return the classes' names as the hub's library writes them into a table; None where it hasn't."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        names = features[label]["names"]
    except (KeyError, ValueError, TypeError):
        return None
    if not isinstance(names, list) or len(set(map(str, names))) != len(names):
        return None
    return tuple(map(str, names)) or None


@contextmanager
def _reading(path: Path) -> Iterator[Any]:
    """Open a table; whatever its reader raises is said of the file."""
    try:
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise InputError(
            "tables of the Hugging Face hub are read by pyarrow", "pip install 'sparsebench[hub]'"
        ) from error
    try:
        with parquet.ParquetFile(path) as file:
            yield file
    except DatasetError:
        raise
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: not found", hint=_AGAIN) from error
    except Exception as error:  # a reader of damaged files raises nearly anything
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DatasetError(f"{path}: can't be read as a table: {reason}", hint=f"it is damaged: {_AGAIN}") from error


class Rows:
    """The images of a split's rows, in order of its tables; the row groups used last are kept, up to 256 MiB.

    Parameters
    ----------
    tables : sequence of Table
        The tables.
    starts : sequence of int
        The first row of each, in the split, and the number of rows.
    """

    def __init__(self, tables: Sequence[Table], starts: Sequence[int]) -> None:
        self._tables, self._starts = tables, starts
        self._kept: OrderedDict[tuple[int, int], list[bytes | None]] = OrderedDict()
        self._lock = Lock()

    def image(self, row: int) -> Image.Image:
        """Decode the image of a row, or raise a :class:`DatasetError` that names it."""
        which = bisect_right(self._starts, row) - 1
        table, own = self._tables[which], row - self._starts[which]
        group = bisect_right(table.groups, own) - 1
        with self._lock:
            data = self._group(which, group)[own - table.groups[group]]
        return rgb_of(_there(table, own, data), f"{table.path}, row {own}")

    def _group(self, which: int, group: int) -> list[bytes | None]:
        values = self._kept.pop((which, group), None)
        if values is None:
            values = self._tables[which].group(group)
        self._kept[which, group] = values
        while len(self._kept) > 1 and sum(map(_size, self._kept.values())) > _HELD:
            self._kept.popitem(last=False)
        return values


def _size(values: list[bytes | None]) -> int:
    return sum(len(value) for value in values if value is not None)


def _there(table: Table, row: int, data: bytes | None) -> bytes:
    if data is None:
        raise DatasetError(f"{table.path}, row {row}: has no image", hint="its image is elsewhere, or was left out")
    return data


def check_tables(
    tables: Mapping[SplitName, Sequence[Table]],
    left_out: Mapping[SplitName, frozenset[int]],
    cache_dir: Path | None,
) -> dict[SplitName, list[str]]:
    """Return the sha256 of each row's image, split by split, after checking that each is whole.

    Rows that are left out have an empty hash. What was found is remembered by a file's size and time of change.

    Raises
    ------
    DatasetError
        For the first broken image; the message names its row, and how many more there are.
    """
    hashes: dict[SplitName, list[str]] = {}
    broken: list[tuple[SplitName, int, DatasetError]] = []
    for split, own in tables.items():
        hashes[split] = []
        for table in own:
            start = len(hashes[split])
            without = sorted(row - start for row in left_out[split] if start <= row < start + len(table.labels))
            found, failed = _check(table, without, cache_dir)
            hashes[split] += found
            broken += [(split, start + row, error) for row, error in failed]
    if broken:
        split, row, error = broken[0]
        rows: dict[str, list[int]] = {}
        for part, number, _ in broken[:20]:
            rows.setdefault(part, []).append(number)
        more = f" (and {len(broken) - 1} more rows)" if len(broken) > 1 else ""
        hint = f"{_AGAIN}; if it is so on the hub: options: {{leave_out: {rows}}}".replace("'", "")
        raise DatasetError(f"{error.message}; it is row {row} of {split}{more}", hint=hint) from error
    return hashes


def _check(
    table: Table, without: Sequence[int], cache_dir: Path | None
) -> tuple[list[str], list[tuple[int, DatasetError]]]:
    """Return the hashes of a table's images, and the rows that are broken."""
    status = table.path.stat()
    where = {"path": str(table.path.resolve()), "size": status.st_size, "time": status.st_mtime_ns}
    key = {"version": _VERSION, "column": table.column, "without": list(without), **where}
    known = read_document(cache_dir, "tables", key)
    if isinstance(known, list) and len(known) == len(table.labels):
        return [str(value) for value in known], []
    hashes: list[str] = []
    broken: list[tuple[int, DatasetError]] = []
    skipped = set(without)
    for number in range(len(table.groups) - 1):
        for data in table.group(number):
            row = len(hashes)
            hashes.append("")
            if row in skipped:
                continue
            try:
                hashes[row] = check_data(_there(table, row, data), f"{table.path}, row {row}")
            except DatasetError as error:
                broken.append((row, error))
    if not broken:
        write_document(cache_dir, "tables", key, hashes)
    return hashes, broken
