"""A benchmark harness that answers how well a pruned ImageNet backbone transfers.

``load`` gives a checkpoint's backbone and masks, ``run`` runs cells of the benchmark, ``results`` reads their records.
``features`` and ``predictions`` give arrays; ``export`` writes a trained network with its head, which ``predict`` uses.
``probes``, ``engines``, ``analysis``, ``pruning`` and ``store`` are packages. All are imported when first used:
importing sparsebench imports neither torch nor NumPy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .common.lazy import importer
from .common.version import __version__
from .schema.errors import SparsebenchError

if TYPE_CHECKING:
    from . import analysis, engines, pruning, store
    from .api import export, features, load, predict, predictions, recommend, results, run, similarity
    from .transfer import probes

__all__ = [
    "SparsebenchError",
    "__version__",
    "analysis",
    "engines",
    "export",
    "features",
    "load",
    "predict",
    "predictions",
    "probes",
    "pruning",
    "recommend",
    "results",
    "run",
    "similarity",
    "store",
]

_PACKAGES = {
    "analysis": ".analysis",
    "engines": ".engines",
    "probes": ".transfer.probes",
    "pruning": ".pruning",
    "store": ".store",
}
"""Documented packages, and where they are; each is imported when it is first used."""

_function = importer(
    __name__,
    {
        "export": ".api.exporting",
        "features": ".api.features",
        "load": ".api.loading",
        "predict": ".api.exporting",
        "predictions": ".api.predictions",
        "recommend": ".api.recommending",
        "similarity": ".api.similarity",
        "results": ".api.loading",
        "run": ".api.running",
    },
)


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return importlib.import_module(_PACKAGES[name], __name__)
    return _function(name)


def __dir__() -> list[str]:
    return sorted(__all__)
