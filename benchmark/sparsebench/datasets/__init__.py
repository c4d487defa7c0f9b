"""A task to its train, val and test images: one loader per kind of source, and the checks that hold for all.

What reads images is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..common.lazy import importer

if TYPE_CHECKING:
    from .base import Split, TaskData, concatenate
    from .opening import LOADERS, open_task
    from .sources.fetching import can_download, download_task

__all__ = ["LOADERS", "Split", "TaskData", "can_download", "concatenate", "download_task", "open_task"]

__getattr__ = importer(
    __name__,
    {
        "LOADERS": ".opening",
        "Split": ".base",
        "TaskData": ".base",
        "can_download": ".sources.fetching",
        "concatenate": ".base",
        "download_task": ".sources.fetching",
        "open_task": ".opening",
    },
)
