"""What every loader returns: splits of images with stable ids, and their fingerprint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..schema import Task, digest

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL import Image


@dataclass(frozen=True)
class Split:
    """One split of a data set.

    Parameters
    ----------
    ids : tuple of str
        A stable, unique name for each image, in the order of the split.
    labels : ndarray of int64, shape (n,)
        Class indices from 0.
    hashes : tuple of str
        A content hash of each image (of its pixels or of its file's bytes).
    load : callable
        ``load(i)`` decodes image ``i`` to an RGB :class:`PIL.Image.Image`.
    file : callable, optional
        ``file(i)`` is the path of image ``i``, where images are files.
    rendered : str, optional
        What makes images when they are asked for, and its version, where they are rendered, or decoded from bytes.
    alter : callable, optional
        ``alter(i, crop)`` changes the crop of image ``i`` of ``source``, uint8 (S, S, 3): the split's images are those,
        changed after they were resized and cropped.
    source : Split, optional
        The images before that.
    """

    ids: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    hashes: tuple[str, ...]
    load: Callable[[int], Image.Image] = field(repr=False)
    file: Callable[[int], Path] | None = field(default=None, repr=False)
    rendered: str | None = None
    alter: Callable[[int, npt.NDArray[np.uint8]], npt.NDArray[np.uint8]] | None = field(default=None, repr=False)
    source: Split | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, index: npt.NDArray[np.int64]) -> Split:
        """Return the images of an index (m,), in its order."""
        file, alter = self.file, self.alter
        return Split(
            ids=tuple(self.ids[i] for i in index),
            labels=self.labels[index],
            hashes=tuple(self.hashes[i] for i in index),
            load=lambda i: self.load(int(index[i])),
            file=None if file is None else lambda i: file(int(index[i])),
            rendered=self.rendered,
            alter=None if alter is None else lambda i, crop: alter(int(index[i]), crop),
            source=None if self.source is None else self.source.take(index),
        )

    @cached_property
    def sha256(self) -> str:
        """Digest of ids, labels and image contents, in order."""
        return digest([list(self.ids), self.labels.tolist(), list(self.hashes)])


@dataclass(frozen=True)
class TaskData:
    """A task's images, ready to be read; ``val`` is empty (length 0) where the task has none.

    ``on_overlap`` says what an image found in two splits means: ``error`` where sparsebench cut the splits, ``warn``
    where the user did, ``allow`` where they are published so. ``published`` data is not expected to change: where the
    task has no fingerprint, the first one that is seen counts.
    """

    task: Task
    classes: tuple[str, ...]
    train: Split
    val: Split
    test: Split
    on_overlap: Literal["error", "warn", "allow"] = "error"
    published: bool = False

    @property
    def splits(self) -> dict[Literal["train", "val", "test"], Split]:
        """The three splits by name."""
        return {"train": self.train, "val": self.val, "test": self.test}

    @cached_property
    def split_sha256(self) -> str:
        """Fingerprint of classes and splits: part of run ids, so a changed data set is a different run."""
        return digest(
            {
                "classes": list(self.classes),
                "train": self.train.sha256,
                "val": self.val.sha256,
                "test": self.test.sha256,
            }
        )


def concatenate(first: Split, second: Split) -> Split:
    """Return the images of ``first`` followed by those of ``second`` (train and val together: ``trainval``)."""
    if len(second) == 0:
        return first
    import numpy as np

    n = len(first)

    def load(i: int) -> Image.Image:
        return first.load(i) if i < n else second.load(i - n)

    return Split(
        ids=first.ids + second.ids,
        labels=np.concatenate([first.labels, second.labels]),
        hashes=first.hashes + second.hashes,
        load=load,
        file=_joined(first.file, second.file, n),
        rendered=first.rendered if first.rendered == second.rendered else None,
    )


def _joined(
    first: Callable[[int], Path] | None, second: Callable[[int], Path] | None, n: int
) -> Callable[[int], Path] | None:
    if first is None or second is None:
        return None
    return lambda i: first(i) if i < n else second(i - n)


def partition(data: TaskData, train_on: Literal["train", "trainval"]) -> tuple[Split, Split | None]:
    """Return the images that a protocol trains on, and those that it holds out for validation (None: none)."""
    if train_on == "trainval":
        return concatenate(data.train, data.val), None
    return data.train, data.val if len(data.val) else None
