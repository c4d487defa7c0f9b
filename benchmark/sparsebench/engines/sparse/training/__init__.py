"""Training in our own kernels: forward and backward over the kept weights alone; see ``docs/engineering/engine.md``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....common.lazy import importer

if TYPE_CHECKING:
    from .module import KeptTrainable, Trainable, train, trainable
    from .tracing import check

__all__ = ["KeptTrainable", "Trainable", "check", "train", "trainable"]

__getattr__ = importer(
    __name__,
    {
        "KeptTrainable": ".module",
        "Trainable": ".module",
        "check": ".tracing",
        "train": ".module",
        "trainable": ".module",
    },
)
