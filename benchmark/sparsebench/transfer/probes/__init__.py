"""Classifiers on frozen features: a probe is one module of this package with a ``fit_seeds``, entered in a table."""

from .fitting import PROBES, ProbeResult, fit, get, table

__all__ = ["PROBES", "ProbeResult", "fit", "get", "table"]
