"""The library, of which the command line is a thin layer: load, run, and what has been computed as arrays and tables.

Nothing here imports torch before it is needed.
"""

from ..runs.request import Request
from .exporting import export, predict
from .features import TaskFeatures, features
from .loading import load, results
from .predictions import RunPredictions, predictions
from .running import Prepared, execute, prepare, run

__all__ = [
    "Prepared",
    "Request",
    "RunPredictions",
    "TaskFeatures",
    "execute",
    "export",
    "features",
    "load",
    "predict",
    "predictions",
    "prepare",
    "results",
    "run",
]
