"""A benchmark harness that answers how well a pruned ImageNet backbone transfers.

``sparsebench.load`` gives a checkpoint's backbone and masks, ``sparsebench.run`` runs cells of the benchmark,
``sparsebench.results`` reads their records. All three load torch when first used, not on import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .schema.errors import SparsebenchError

if TYPE_CHECKING:
    from .api import load, results, run

__all__ = ["SparsebenchError", "load", "results", "run"]
__version__ = "0.1.0"

_LAZY = {"load", "results", "run"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        from . import api

        return getattr(api, name)
    raise AttributeError(f"module 'sparsebench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
