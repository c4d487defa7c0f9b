"""Which record files there are: a folder is listed again when its date has changed, so looking often costs little."""

from __future__ import annotations

import os
import time
from pathlib import Path

from ..schema import ResultsError

_RACY_NS = 3_000_000_000
"""A folder changed so shortly before it was listed may have changed again without a new date."""


class Listing:
    """The record files below a folder, ``<checkpoint>/<task>/<name>.<record key>.json``, by key.

    Parameters
    ----------
    folder : Path
        The folder ``records``, which may not exist yet.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._cells: dict[str, tuple[int, list[str]]] = {}  # folder to its date and names, as text: there are many
        self._by_id: dict[str, list[str]] | None = None

    def refresh(self, certainly: Path | None = None) -> None:
        """Look for what other processes have written or removed; list the folder ``certainly`` in any case.

        Raises
        ------
        ResultsError
            If a folder exists and can't be listed.
        """
        try:
            cells = [task for checkpoint in _subfolders(self.folder) for task in _subfolders(checkpoint)]
            for gone in self._cells.keys() - set(cells):
                del self._cells[gone]
                self._by_id = None
            for cell in cells:
                self._look_at(cell, certainly is not None and cell == str(certainly))
        except OSError as error:
            raise ResultsError(f"can't list the records in {str(self.folder)!r}: {error.strerror}") from error

    def files(self) -> list[str]:
        """Return the paths of all files, sorted by folder and name, as of the last refresh."""
        return [f"{cell}{os.sep}{name}" for cell in sorted(self._cells) for name in self._cells[cell][1]]

    def of(self, key: str) -> list[Path]:
        """Return the files of a record key or a run id, as of the last refresh.

        A key has one file per name that its checkpoint and task go by, a run id those of all its keys.
        """
        return [Path(file) for file in self._ids().get(key, ())]

    def of_schema_1(self) -> list[Path]:
        """Return the files that are named by a run id alone, as schema 1 did."""
        return [Path(file) for file in self._ids().get("", ())]

    def _ids(self) -> dict[str, list[str]]:
        """Return the files by record key and by run id; those of schema 1 under the empty text."""
        if self._by_id is None:
            self._by_id = {}
            for file in self.files():
                key = file.split(".")[-2]
                run_id, dash, _ = key.partition("-")
                for name in (key, run_id) if dash else ("",):
                    self._by_id.setdefault(name, []).append(file)
        return self._by_id

    def _look_at(self, cell: str, certainly: bool) -> None:
        try:
            with os.scandir(cell) as entries:  # opening it makes a network file system ask its server for the date
                date = os.stat(cell).st_mtime_ns  # noqa: PTH116 - text is what there is
                known, before = self._cells.get(cell, (None, []))
                if date == known and not certainly:
                    return
                names = sorted(entry.name for entry in entries)
        except FileNotFoundError:
            names, date, before = [], 0, self._cells.get(cell, (None, []))[1]
        names = [name for name in names if name.endswith(".json") and not name.startswith(".")]
        racy = abs(time.time_ns() - date) < _RACY_NS
        self._cells[cell] = (-1 if racy else date, names)
        if names != before:
            self._by_id = None


def _subfolders(folder: Path | str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(e.path for e in entries if e.is_dir() and not e.name.startswith("."))
    except FileNotFoundError:
        return []
