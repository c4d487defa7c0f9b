"""Our own engine for backbones with unstructured masks on a CPU; see ``docs/engine.md``."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .engine import SparseEngine, build
    from .library import available, instruction_sets
    from .tracing import check

__all__ = ["SparseEngine", "available", "build", "check", "instruction_sets"]

_MODULES = {
    "SparseEngine": ".engine",
    "available": ".library",
    "build": ".engine",
    "check": ".tracing",
    "instruction_sets": ".library",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(_MODULES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
