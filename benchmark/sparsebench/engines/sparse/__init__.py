"""Our own engine for backbones with unstructured masks on a CPU; see ``docs/engineering/engine.md``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...common.lazy import importer

if TYPE_CHECKING:
    from .engine import SparseEngine, build
    from .library import available, instruction_sets
    from .tracing import check

__all__ = ["SparseEngine", "available", "build", "check", "instruction_sets"]

__getattr__ = importer(
    __name__,
    {
        "SparseEngine": ".engine",
        "available": ".library",
        "build": ".engine",
        "check": ".tracing",
        "instruction_sets": ".library",
    },
)
