"""The library, of which the command line is a thin layer: load, run, and what has been computed as arrays and tables.

Each part is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..common.lazy import importer

if TYPE_CHECKING:
    from ..runs.request import Request
    from .exporting import export, predict
    from .features import TaskFeatures, features
    from .loading import load, results
    from .predictions import RunPredictions, predictions
    from .recommending import recommend
    from .running import Prepared, execute, prepare, run
    from .similarity import Similarity, similarity

__all__ = [
    "Prepared",
    "Request",
    "RunPredictions",
    "Similarity",
    "TaskFeatures",
    "execute",
    "export",
    "features",
    "load",
    "predict",
    "predictions",
    "prepare",
    "recommend",
    "results",
    "run",
    "similarity",
]

__getattr__ = importer(
    __name__,
    {
        "Prepared": ".running",
        "Request": "..runs.request",
        "RunPredictions": ".predictions",
        "Similarity": ".similarity",
        "TaskFeatures": ".features",
        "execute": ".running",
        "export": ".exporting",
        "features": ".features",
        "load": ".loading",
        "predict": ".exporting",
        "predictions": ".predictions",
        "prepare": ".running",
        "recommend": ".recommending",
        "results": ".loading",
        "run": ".running",
        "similarity": ".similarity",
    },
)
