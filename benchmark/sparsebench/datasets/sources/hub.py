"""Data sets of the Hugging Face hub that are tables: parquet files with a column of images and one of labels.

The tables are read as they lie, one row group at a time; no image is written out. An image's id is its file and row,
its hash that of its bytes. As with every published data set, sizes, classes and fingerprint are asserted, every image
is decoded once, and a tenth of the training images is held out where no validation split is named.
"""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from ...schema import DatasetError, InputError, MissingDataError, Strict, Task
from ..base import Split, TaskData
from ..checks import assert_numbers
from ..splits.splitting import SplitName
from .folders import Entry
from .layouts import Listing
from .options import parse_options
from .published import assert_classes, data_place, with_val
from .tables import Rows, Table, check_tables

MANIFEST = "sparsebench-hub.json"
"""What was fetched, beside the tables: repository, revision, commit, and each file's size."""

Row = Annotated[int, Field(strict=True, ge=0)]


class HubOptions(Strict):
    """A table on the hub, and what is what in it.

    Parameters
    ----------
    hub : str
        ``OWNER/NAME``.
    revision : str
        A branch, tag or commit; tables that the hub itself has made are on ``refs/convert/parquet``.
    config : str, optional
        The folder that the tables lie in, where there are several.
    splits : mapping
        The data set's own names of ``train``, ``test`` and, if there is one, ``val``; or patterns of file names.
    image, label : str
        The names of the columns.
    leave_out : mapping
        Rows of a split, counted from 0, that can't be used.
    """

    hub: str = Field(pattern=r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")
    revision: str = Field(default="main", min_length=1)
    config: str | None = Field(default=None, min_length=1)
    splits: dict[SplitName, str] = Field(default={"train": "train", "test": "test"})
    image: str = "image"
    label: str = "label"
    leave_out: dict[Literal["train", "val", "test"], tuple[Row, ...]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _both(self) -> HubOptions:
        if not {"train", "test"} <= set(self.splits):
            raise ValueError("splits name train and test")
        return self

    def files_of(self, split: SplitName, names: list[str]) -> list[str]:
        """Return the tables of a split among names relative to the repository, in order.

        Raises
        ------
        InputError
            If they lie in several folders, of which one must be named.
        """
        wanted = self.splits[split]
        own = [name for name in names if self.config is None or self.config in name.split("/")[:-1]]
        if re.search(r"[*?/\[]", wanted):
            return sorted(name for name in own if fnmatch.fnmatch(name, wanted))
        found = sorted(name for name in own if _is_of(name, wanted))
        folders = sorted({name.rpartition("/")[0] for name in found})
        if len(folders) > 1:
            raise InputError(
                f"{self.hub} has tables of {wanted} in several folders: {', '.join(folders[:5])}",
                "name one: options: {config: FOLDER}, or splits by patterns",
            )
        return found


def _is_of(name: str, split: str) -> bool:
    """Return whether a table is of a split: ``data/train-00000-of-00002.parquet``, ``train/0000.parquet``."""
    *folders, file = name.removesuffix(".parquet").split("/")
    if re.fullmatch(re.escape(split) + r"(?:-\d+-of-\d+)?(?:-[0-9a-f]{16})?", file):
        return True
    return bool(folders) and folders[-1] == split


def hub_folder(task: Task, options: HubOptions, data_dir: Path | None) -> Path:
    """Return the folder that a task's tables lie in, or are to lie in."""
    place = data_place(task, data_dir)
    return place if task.root is not None else place / options.hub.replace("/", "--")


def tables_in(task: Task, options: HubOptions, folder: Path) -> dict[SplitName, list[str]]:
    """Return the tables of each split below a folder.

    Raises
    ------
    MissingDataError
        If one is missing, of another revision or not fetched to its end.
    """
    remedy = f"get it with: sparsebench fetch --task {task.id}; or put the tables of {options.hub} there"
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.parquet")) if folder.is_dir() else []
    manifest = read_manifest(folder)
    if manifest is not None:
        if (manifest["hub"], manifest["revision"]) != (options.hub, options.revision):
            other = f"{manifest['hub']} at {manifest['revision']}"
            raise MissingDataError(f"task {task.id!r}: {folder} holds {other}, not {options.revision}", hint=remedy)
        sizes = manifest["files"]
        there = [name for name in sizes if name in names and (folder / name).stat().st_size == sizes[name]]
        if len(there) < len(sizes):
            lacking = next(name for name in sizes if name not in there)
            raise MissingDataError(
                f"task {task.id!r}: {folder} lacks {len(sizes) - len(there)} of {len(sizes)} tables, such as {lacking}",
                hint=remedy,
            )
        names = sorted(sizes)
    found: dict[SplitName, list[str]] = {split: options.files_of(split, names) for split in options.splits}
    empty = [options.splits[split] for split, files in found.items() if not files]
    if empty:
        seen = f"; there are {', '.join(names[:5])}" if names else ""
        raise MissingDataError(f"task {task.id!r}: no table of {', '.join(empty)} in {folder}{seen}", hint=remedy)
    return found


def read_manifest(folder: Path) -> Mapping[str, Any] | None:
    """Return what was fetched into a folder, None where nothing was; a damaged one counts as none."""
    try:
        content = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return None
    whole = isinstance(content, dict) and isinstance(content.get("files"), dict) and "hub" in content
    return content if whole and "revision" in content else None


def open_hub(task: Task, data_dir: Path | None = None, cache_dir: Path | None = None) -> TaskData:
    """Open a task whose images are in tables; parameters and errors as of :func:`.published.open_published`."""
    options = parse_options(HubOptions, task)
    folder = hub_folder(task, options, data_dir)
    files = tables_in(task, options, folder)
    tables = {
        split: [Table.of(folder, name, options.image, options.label) for name in names]
        for split, names in files.items()
    }
    every = [table for own in tables.values() for table in own]
    classes = _classes(task, every)
    left_out = {split: frozenset(options.leave_out.get(split, ())) for split in tables}
    labels = {split: [label for table in own for label in _labels(table, classes)] for split, own in tables.items()}
    kept = {split: [i for i in range(len(own)) if i not in left_out[split]] for split, own in labels.items()}
    for split, rows in left_out.items():
        if rows and max(rows) >= len(labels[split]):
            raise DatasetError(f"task {task.id!r}: {split} has no row {max(rows)}", hint="correct its leave_out")
    found = {"trainval": len(kept["train"]) + len(kept.get("val", [])), "test": len(kept["test"])}
    assert_numbers(task, len(classes), found)  # before all images are read
    entries = [Entry("", classes[labels[split][i]], split) for split, rows in kept.items() for i in rows]
    assert_classes(task, folder, Listing(classes, tuple(entries)))
    hashes = check_tables(tables, left_out, cache_dir)
    parts = {split: _split(tables[split], kept[split], labels[split], hashes[split]) for split in tables}
    train = parts["train"]
    if "val" in parts:
        return TaskData(task, classes, train, parts["val"], parts["test"], on_overlap="allow", published=True)
    cut = np.array(with_val(["train"] * len(train), list(train.hashes), train.labels))
    held, rest = train.take(np.flatnonzero(cut == "val")), train.take(np.flatnonzero(cut == "train"))
    return TaskData(task, classes, rest, held, parts["test"], on_overlap="allow", published=True)


def _classes(task: Task, tables: list[Table]) -> tuple[str, ...]:
    """Return the names of the classes: those that the tables declare, else their labels in order."""
    names = {table.names for table in tables}
    if len(names) > 1:
        other = next(table.name for table in tables if table.names != tables[0].names)
        raise DatasetError(f"task {task.id!r}: {tables[0].name} and {other} have other classes", hint="get both again")
    if tables[0].names is not None:
        return tables[0].names
    values = {label for table in tables for label in table.labels}
    return tuple(str(value) for value in sorted(values, key=lambda value: (isinstance(value, str), value)))


def _labels(table: Table, classes: tuple[str, ...]) -> list[int]:
    """Return the class of each row: by name, or its number among the classes that the table declares."""
    number = {label: i for i, label in enumerate(classes)}
    found = []
    for row, label in enumerate(table.labels):
        index = label if isinstance(label, int) and table.names is not None else number.get(str(label), -1)
        if not 0 <= index < len(classes):
            raise DatasetError(
                f"{table.path}, row {row}: label {str(label)[:40]!r} is of none of its {len(classes)} classes",
                hint="name a split that has labels",
            )
        found.append(index)
    return found


def _split(tables: list[Table], kept: list[int], labels: list[int], hashes: list[str]) -> Split:
    starts = [0, *accumulate(len(table.labels) for table in tables)]
    ids = [f"{table.name}:{row}" for table in tables for row in range(len(table.labels))]
    rows = Rows(tables, starts)
    return Split(
        ids=tuple(ids[i] for i in kept),
        labels=np.array([labels[i] for i in kept], dtype=np.int64),
        hashes=tuple(hashes[i] for i in kept),
        load=lambda i: rows.image(kept[i]),
        rendered="table",
    )
