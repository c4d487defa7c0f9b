"""A few images of each split, for a quick look: as evenly over the classes as there are images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ...schema import InputError
from ..base import Split, TaskData
from .keyed import shuffled


def limited(data: TaskData, limit: int) -> TaskData:
    """Return a task's data with at most ``limit`` images of each split.

    The images are the same each time: of each class the first in an order given by their contents' hashes. Classes get
    equally many, as far as they have them; what is left over goes to those that have more, by their index. Where
    nothing is learned, fewer images than classes will do: the first of all in that order.

    Raises
    ------
    InputError
        If there is something to learn from and there are more classes than images: each class keeps at least one.
    """
    classes = len(data.classes)
    if limit < classes and len(data.train):
        raise InputError(
            f"--limit {limit} is too few for task {data.task.id!r}, which has {classes} classes",
            f"give at least {classes}",
        )
    train, val, test = (few(split, limit, classes) for split in (data.train, data.val, data.test))
    return replace(data, train=train, val=val, test=test)


def few(split: Split, limit: int, classes: int) -> Split:
    """Return at most ``limit`` images of a split, as evenly over the classes as there are images."""
    if len(split) <= limit:
        return split
    shares = _shares(np.bincount(split.labels, minlength=classes), limit)
    order = {name: place for place, name in enumerate(shuffled(set(split.hashes), "limit"))}
    chosen: list[int] = []
    if limit < classes:
        chosen = sorted(range(len(split)), key=lambda i: (order[split.hashes[i]], split.ids[i]))[:limit]
        return split.take(np.sort(np.array(chosen, dtype=np.int64)))
    for label, share in enumerate(shares):
        own = np.flatnonzero(split.labels == label).tolist()
        chosen += sorted(own, key=lambda i: (order[split.hashes[i]], split.ids[i]))[:share]
    return split.take(np.sort(np.array(chosen, dtype=np.int64)))


def _shares(counts: npt.NDArray[np.int64], limit: int) -> list[int]:
    """Return how many images each class keeps, ``limit`` in all: equally many where it has them."""
    shares = np.zeros_like(counts)
    while (left := limit - int(shares.sum())) > 0:
        (open_,) = np.nonzero(shares < counts)
        each = max(1, left // len(open_))
        for label in open_[: left // each]:
            shares[label] += min(each, counts[label] - shares[label])
    return shares.tolist()
