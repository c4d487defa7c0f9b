"""``open_task``: which loader opens a task, and the checks that hold for all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from ..schema import Task, UnknownNameError
from .base import TaskData
from .checks import assert_task
from .sources.layouts import LAYOUTS
from .splits.limit import limited
from .splits.lock import assert_locked

__all__ = ["LOADERS", "open_task"]

Loader = Callable[[Task, Path | None, Path | None], TaskData]

LOADERS: dict[str, tuple[str, str]] = {
    "digits": ("sources.embedded.digits", "open_digits"),
    "glyphs": ("sources.embedded.glyphs", "open_glyphs"),
    "textures": ("sources.embedded.textures", "open_textures"),
    "imagefolder": ("sources.imagefolder", "open_imagefolder"),
    "torchvision": ("sources.torchvision_sets", "open_torchvision"),
    "hub": ("sources.hub", "open_hub"),
    "wordnet": ("sources.wordnet", "open_wordnet"),
    **dict.fromkeys(LAYOUTS, ("sources.published", "open_published")),
}
"""What a task's ``loader`` may be: the module here and its function, imported when first used."""


def open_task(task: Task, data_dir: Path | None = None, cache_dir: Path | None = None) -> TaskData:
    """Open a task's data and assert that it is what the task says.

    Parameters
    ----------
    task : Task
        The task.
    data_dir : Path, optional
        Where data sets live; relative roots are looked up there, else in the current folder.
    cache_dir : Path, optional
        Where the results of slow checks may be remembered, and the fingerprints of published data sets.

    Raises
    ------
    UnknownNameError
        If no such loader exists.
    RegistryError
        If the loader can't use the task's root or options.
    DatasetError
        If the data is missing, damaged, or differs from the task.
    InputError
        If the task's limit is below its number of classes.
    """
    if task.limit is not None:
        whole = open_task(task.without_limit(), data_dir, cache_dir)
        return replace(limited(whole, task.limit), task=task)
    if task.loader not in LOADERS:
        raise UnknownNameError("loader", task.loader, LOADERS)
    module, function = LOADERS[task.loader]
    loader: Loader = getattr(import_module(f".{module}", __package__), function)
    data = loader(task, data_dir, cache_dir)
    assert_task(data)
    if data.published and task.split_sha256 is None and cache_dir is not None:
        assert_locked(data, data_dir, cache_dir)
    return data
