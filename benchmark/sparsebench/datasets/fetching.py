"""Fetch a task's data set, where torchvision can."""

from __future__ import annotations

import tarfile
from pathlib import Path

from ..progress import Progress
from ..schema import DatasetError, Task
from .options import parse_options

_EMBEDDED = frozenset({"digits", "glyphs", "textures"})


def can_download(task: Task) -> bool:
    """Return whether :func:`download_task` can fetch a task's data set."""
    return task.loader == "torchvision"


def download_task(task: Task, data_dir: Path, progress: Progress | None = None) -> Path | None:
    """Fetch a task's data set into ``data_dir``, unless it is there.

    Parameters
    ----------
    task : Task
        The task.
    data_dir : Path
        Where data sets live; created where it isn't there.
    progress : callable, optional
        ``progress(done, total)``, called with (0, 1) before and (1, 1) after; torchvision shows a bar of its own.

    Returns
    -------
    Path or None
        The folder that the data set lies in; None for a task that comes with the package.

    Raises
    ------
    DatasetError
        If it can't be downloaded.
    """
    from torchvision import datasets

    from .torchvision_sets import TorchvisionOptions

    if task.loader in _EMBEDDED:
        return None
    if not can_download(task):
        raise DatasetError(f"task {task.id!r}: its images are your own, there is nothing to download")
    place = data_dir / Path(task.root).expanduser() if task.root is not None else data_dir
    name = parse_options(TorchvisionOptions, task).dataset
    if progress is not None:
        progress(0, 1)
    try:
        place.mkdir(parents=True, exist_ok=True)
        getattr(datasets, name)(str(place), download=True)
    except (RuntimeError, OSError, EOFError, ValueError, tarfile.TarError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DatasetError(
            f"task {task.id!r}: the download into {place} failed: {reason}",
            hint=f"put torchvision's files into {place}",
        ) from error
    if progress is not None:
        progress(1, 1)
    return place
