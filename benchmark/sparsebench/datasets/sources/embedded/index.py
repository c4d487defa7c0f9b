"""The published split files of the embedded tasks: one CSV row per image, its split, its class and how to make it."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image, features

from ....common.files import write_text
from ....common.paths import root_file
from ....schema import DatasetError, Task
from ...base import Split, TaskData
from .variation import RECIPE_VERSION

Row = dict[str, str]
SPLITS = ("train", "val", "test")
COLUMNS = ("id", "split", "label")
_REPAIR = "reinstall sparsebench"


@cache
def renderer() -> str:
    """Return what renders images, with the versions that its pixels may depend on."""
    return f"pillow {version('pillow')}, freetype {features.version('freetype2')}, recipe {RECIPE_VERSION}"


def index_path(name: str) -> Path:
    """Return the path of the embedded task ``name``'s split file."""
    try:
        return root_file("tasks") / "splits" / f"{name}.csv"
    except FileNotFoundError as error:
        raise DatasetError(str(error)) from error


def read_index(path: Path, columns: Sequence[str]) -> list[Row]:
    """Read a split file and check its header, its splits and that every cell is filled.

    Raises
    ------
    DatasetError
        If the file is missing or isn't such a table; the message names the line.
    """
    expected = [*COLUMNS, *columns]
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            header, rows = list(reader.fieldnames or ()), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path}: the split file can't be read: {error}", hint=_REPAIR) from error
    if header != expected:
        raise DatasetError(f"{path}: columns are {header}, not {expected}", hint=_REPAIR)
    for line, row in enumerate(rows, start=2):
        if row["split"] not in SPLITS or not all(row.get(name) for name in expected):
            raise DatasetError(f"{path}, line {line}: not a row of a split file", hint=_REPAIR)
    return rows


def write_index(path: Path, rows: Sequence[Row]) -> None:
    """Write ``rows``, which all have the same keys, as a split file."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def with_test(rows: Sequence[Row], change: Callable[[Row], Row]) -> list[Row]:
    """Return rows with those of test images changed."""
    return [change(row) if row["split"] == "test" else row for row in rows]


def task_data(
    task: Task,
    rows: Sequence[Row],
    classes: Sequence[str],
    content_hash: Callable[[Row], str],
    render: Callable[[Row], Image.Image],
) -> TaskData:
    """Build a task from its split file's rows; images are rendered when they are asked for.

    Parameters
    ----------
    content_hash : callable
        The digest of what an image is made from.
    render : callable
        Makes the RGB image.

    Raises
    ------
    DatasetError
        If a row's label is not one of ``classes``.
    """
    label_of = {name: i for i, name in enumerate(classes)}

    def hashes(mine: list[Row]) -> tuple[str, ...]:
        try:
            return tuple(content_hash(row) for row in mine)
        except (ValueError, IndexError) as error:
            raise DatasetError(f"task {task.id!r}: its split file is damaged: {error}", hint=_REPAIR) from error

    def split(name: str) -> Split:
        mine = [row for row in rows if row["split"] == name]
        unknown = sorted({row["label"] for row in mine} - set(label_of))
        if unknown:
            raise DatasetError(f"task {task.id!r}: unknown labels in its split file: {', '.join(unknown)}")
        return Split(
            ids=tuple(row["id"] for row in mine),
            labels=np.array([label_of[row["label"]] for row in mine], dtype=np.int64),
            hashes=hashes(mine),
            load=lambda i: render(mine[i]),
            rendered=renderer(),
        )

    return TaskData(task, tuple(classes), split("train"), split("val"), split("test"))
