"""Frozen features of a task's images, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, cast

import numpy as np
import numpy.typing as npt

from ..common.paths import cache_dir as default_cache
from ..common.paths import datasets_dir
from ..models.entries import find_entry
from ..registry import load_registry
from ..registry.selection import select_tasks
from ..runs.prefetch import fetch_missing
from ..runs.request import several
from ..schema import InputError
from .keywords import Computing, numerics_of, with_keywords

if TYPE_CHECKING:
    from ..models.backbone import Backbone
    from ..transfer.features import Features

__all__ = ["TaskFeatures", "features"]


@dataclass(frozen=True, eq=False)
class TaskFeatures:
    """The features of a task's images under a frozen backbone.

    Parameters
    ----------
    checkpoint, task : str
        Which they are.
    classes : ndarray of str, shape (C,)
        The classes' names.
    train, val, test : Features
        Each with ``x`` (n, d) of float32, ``y`` (n,) of class indices, ``ids``, ``seconds`` and ``cached``; ``val`` is
        empty where the task has none.
    """

    checkpoint: str
    task: str
    classes: npt.NDArray[np.str_]
    train: Features
    val: Features
    test: Features

    @property
    def dimension(self) -> int:
        """The number of features d."""
        return int(self.test.x.shape[1])

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name} {getattr(self, name).x.shape}" for name in ("train", "val", "test"))
        return f"TaskFeatures({self.checkpoint} on {self.task}: {sizes}, {len(self.classes)} classes)"


@with_keywords(Computing)
def features(
    checkpoint: str | Path | Backbone,
    task: str | Path,
    *,
    arch: str | None = None,
    registry_files: Sequence[str | Path] | str | Path = (),
    tasks_dirs: Sequence[str | Path] | str | Path = (),
    data_dir: str | Path | None = None,
    cache: bool = True,
    offline: bool = False,
    workers: int | None = None,
    **computing: Unpack[Computing],
) -> TaskFeatures:
    """Compute the features of a task's images under a frozen backbone, or read them from the cache.

    Images are preprocessed as the checkpoint was trained, as in the linear protocols; runs and this function share
    their cache.

    Parameters
    ----------
    checkpoint : str, Path or Backbone
        An id, a file of your own, or what :func:`sparsebench.load` gave (without its head).
    task : str or Path
        A task's id, an image folder, or a task file.
    arch : str, optional
        A file's architecture; not needed where the file names its own.
    registry_files, tasks_dirs : paths, optional
        Checkpoints and tasks of your own.
    data_dir : path, optional
        Where data sets live.
    cache : bool
        Whether to read and write the cache of features (``SPARSEBENCH_CACHE``).
    offline : bool
        Fetch nothing.
    workers : int, optional
        Threads that decode; by default one where images are files.
    **computing
        ``device``, ``precision``, ``engine``, ``threads``, ``channels_last``, ``compile``, ``decoder``.

    Raises
    ------
    InputError
        If a name is unknown, or an argument, the checkpoint or the data can't be used.
    RunError
        If a feature isn't finite.
    """
    numerics = numerics_of(cast("dict[str, Any]", computing))
    root = Path(data_dir) if data_dir is not None else datasets_dir()
    cache_dir = default_cache() if cache else None
    registry = load_registry([Path(p) for p in several(registry_files)], [Path(p) for p in several(tasks_dirs)], root)
    (chosen,) = _one(select_tasks([str(task)], registry, registry.suite("mini"), root), str(task))
    backbone = None if not isinstance(checkpoint, str | Path) else find_entry(str(checkpoint), registry, arch)
    if backbone is not None:
        fetch_missing(backbone, offline=offline)
    from ..datasets import open_task

    data = open_task(chosen, root, cache_dir)
    from ..datasets.images.transforms import Transform
    from ..engines.choice import pinned, torch_threads
    from ..engines.kept import KeptEngine
    from ..models.loading import load_entry
    from ..transfer.features import Features, extract

    network = cast("Backbone", checkpoint) if backbone is None else load_entry(backbone)
    if network.has_head:
        raise InputError(f"{network.info.id} was loaded with its head", "load it without head=True")
    size = network.preprocess.input_size
    numerics = pinned(network.module, numerics, (256, 3, size, size))
    transform = Transform(network.preprocess)
    found, engine = {}, KeptEngine()
    with torch_threads(numerics.threads):
        for name, split in data.splits.items():
            if len(split):
                found[name] = extract(
                    network, split, transform, numerics, cache_dir=cache_dir, workers=workers, engine=engine
                )
    empty = Features(np.empty((0, network.info.feature_dim), np.float32), np.empty(0, np.int64), (), 0.0, cached=False)
    whole = {name: found.get(name, replace(empty)) for name in data.splits}
    return TaskFeatures(network.info.id, chosen.id, np.array(data.classes, dtype=np.str_), **whole)


def _one(tasks: Sequence[Any], text: str) -> Sequence[Any]:
    if len(tasks) != 1:
        names = ", ".join(task.id for task in tasks)
        raise InputError(f"task {text!r} stands for {len(tasks)}: {names}", "name one")
    return tasks
