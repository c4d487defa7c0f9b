"""Class names and images of tasks for ``sparsebench report --html``."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..common.paths import cache_dir
from ..datasets.known import EMBEDDED
from ..report.page import Seen
from ..schema import SparsebenchError
from .exemplars import may_be_shown

if TYPE_CHECKING:
    import pandas as pd

    from ..datasets.base import Split
    from ..registry import Registry

_SIDE = 64


def seen(table: pd.DataFrame, registry: Registry, data_dir: Path | None) -> Iterator[tuple[str, Seen]]:
    """Yield what may be shown of those tasks of a results table whose data are the ones that its runs saw.

    Parameters
    ----------
    table : DataFrame
        A tidy results table.
    registry : Registry
        The tasks.
    data_dir : Path or None
        Where data sets are; without it embedded tasks alone are opened.
    """
    from ..datasets import open_task

    for name, rows in table.groupby("task"):
        task = registry.tasks.get(str(name))
        if task is None or (data_dir is None and task.loader not in EMBEDDED):
            continue
        try:
            data = open_task(task, data_dir, cache_dir())
        except SparsebenchError:  # not there, or not what the task says: its classes keep their numbers
            continue
        if set(rows["split_sha256"].dropna()) == {data.split_sha256}:
            show = Images(data.test) if may_be_shown(task) else None
            yield task.id, Seen(data.classes, show, task.licence or "")


class Images:
    """Gives images of a split as WebP, at most 64 pixels wide and high, in a ``data:`` address."""

    def __init__(self, split: Split) -> None:
        self._split = split
        self._places = {name: place for place, name in enumerate(split.ids)}

    def __call__(self, image: str) -> str | None:
        """Return the address of an image, None where the split has none of this id."""
        place = self._places.get(image)
        if place is None:
            return None
        picture = self._split.load(place).convert("RGB")
        picture.thumbnail((_SIDE, _SIDE))
        data = io.BytesIO()
        picture.save(data, "WEBP", quality=80, method=6)
        return f"data:image/webp;base64,{base64.b64encode(data.getvalue()).decode('ascii')}"
