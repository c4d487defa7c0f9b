"""A benchmark harness that answers how well a pruned ImageNet backbone transfers.

``sparsebench.load`` gives a checkpoint's backbone and masks, ``sparsebench.run`` runs cells of the benchmark,
``sparsebench.results`` reads their records. All three load torch when first used, not on import.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .common.version import __version__
from .schema.errors import SparsebenchError

if TYPE_CHECKING:
    from . import engines, pruning, store
    from .api import load, results, run
    from .transfer import probes

__all__ = ["SparsebenchError", "__version__", "engines", "load", "probes", "pruning", "results", "run", "store"]

_FUNCTIONS = {"load": ".api", "results": ".api", "run": ".api"}
_PACKAGES = {"engines": ".engines", "probes": ".transfer.probes", "pruning": ".pruning", "store": ".store"}
"""Documented names, and the modules that have them or are them; each is imported when it is first used."""


def __getattr__(name: str) -> Any:
    if name in _FUNCTIONS:
        return getattr(importlib.import_module(_FUNCTIONS[name], __name__), name)
    if name in _PACKAGES:
        return importlib.import_module(_PACKAGES[name], __name__)
    raise AttributeError(f"module 'sparsebench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
