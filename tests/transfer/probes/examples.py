"""Small problems for tests of probes: non-negative features, as after a ReLU, around one centre per class."""

from __future__ import annotations

import numpy as np

from sparsebench.registry import builtin_protocols
from sparsebench.schema import Protocol
from sparsebench.transfer.probes.data import ProbeData
from sparsebench.transfer.probes.rows import Rows


def problem(n: int = 150, d: int = 20, classes: int = 5, seed: int = 0, spread: float = 1.0):
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(classes), rng.integers(0, classes, n - classes)])
    centres = np.random.default_rng(99).normal(size=(classes, d))
    x = np.maximum(centres[y] + spread * rng.normal(size=(n, d)), 0)
    return x.astype(np.float32), y.astype(np.int64)


def probe_data(n: int = 120, n_val: int = 40, metric: str = "top1", **more) -> ProbeData:
    x, y = problem(n, seed=1, **more)
    v, w = problem(n_val, seed=2, **more) if n_val else (x[:0], y[:0])
    test = problem(60, seed=3, **more)
    return ProbeData(Rows([x, v]), np.concatenate([y, w]), n, *test, int(y.max()) + 1, metric)


def protocol(name: str, **changes) -> Protocol:
    """Return a built-in protocol with changes, validated."""
    return Protocol.model_validate(builtin_protocols().protocol(name, "linear").model_dump() | changes)
