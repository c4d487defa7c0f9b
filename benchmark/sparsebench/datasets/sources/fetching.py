"""Download a task's data set with torchvision or from the hub, where that works; else say what to get by hand.

torchvision checks the published checksum of every archive that has one before it is unpacked, and archives are unpacked
inside the data folder alone: entries that lead elsewhere are refused.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...common.progress import Progress
from ...schema import DatasetError, Task
from .layouts import LAYOUTS, layout_of
from .options import parse_options
from .published import data_place, find_folder

_EMBEDDED = frozenset({"digits", "glyphs", "textures"})


def can_download(task: Task) -> bool:
    """Return whether :func:`download_task` can fetch a task's data set."""
    return task.loader in ("torchvision", "hub") or (
        task.loader in LAYOUTS and layout_of(task.loader).torchvision is not None
    )


def download_task(task: Task, data_dir: Path, progress: Progress | None = None) -> Path | None:
    """Fetch a task's data set into ``data_dir``, unless it is there.

    Parameters
    ----------
    task : Task
        The task.
    data_dir : Path
        Where data sets live; created where it isn't there.
    progress : callable, optional
        ``progress(done, total)``, called with (0, 1) before and (1, 1) after; torchvision shows its own bars. Of
        tables it is in bytes.

    Returns
    -------
    Path or None
        The folder that the data set lies in; None for a task that comes with the package.

    Raises
    ------
    DatasetError
        If it can't be downloaded: the message says what to get from where, and where to put it.
    """
    if task.loader in _EMBEDDED:
        return None
    if task.loader == "hub":
        from .hub_fetching import fetch_tables

        return fetch_tables(task, data_dir, progress)
    place = data_place(task, data_dir)
    if task.loader in LAYOUTS:
        layout = layout_of(task.loader)
        try:
            return find_folder(task, layout, place)[0]
        except DatasetError:
            if layout.torchvision is None:
                raise
        name, obtain = layout.torchvision, layout.obtain
    elif task.loader == "torchvision":
        from .torchvision_sets import OBTAIN, TorchvisionOptions

        name, obtain = parse_options(TorchvisionOptions, task).dataset, OBTAIN
    else:
        raise DatasetError(
            f"task {task.id!r}: its images are your own, there is nothing to download", hint=f"they belong into {place}"
        )
    if progress is not None:
        progress(0, 1)
    _download(task, name, place, obtain)
    if progress is not None:
        progress(1, 1)
    return place


def _download(task: Task, name: str, place: Path, obtain: str) -> None:
    from torchvision import datasets

    try:
        place.mkdir(parents=True, exist_ok=True)
        with _inside_only():
            getattr(datasets, name)(str(place), download=True)
    except (RuntimeError, OSError, EOFError, ValueError, tarfile.TarError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DatasetError(f"task {task.id!r}: the download into {place} failed: {reason}", hint=obtain) from error


@contextmanager
def _inside_only() -> Iterator[None]:
    """Make tarfile refuse entries that lead out of the folder, which Python before 3.14 doesn't by itself."""
    before = vars(tarfile.TarFile).get("extraction_filter")
    tarfile.TarFile.extraction_filter = staticmethod(tarfile.data_filter)
    try:
        yield
    finally:
        tarfile.TarFile.extraction_filter = before
