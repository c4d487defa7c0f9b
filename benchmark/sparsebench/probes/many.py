"""One probe fitted under several protocols on the same features: the points of a grid."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
import numpy.typing as npt

from ..progress import Progress, part
from ..schema import Protocol, RunError
from . import PROBES, get
from .base import LinearHead

Fitted = LinearHead | RunError
FitMany = Callable[..., list[Fitted]]


def fit_many(
    probe: str,
    x: npt.NDArray[np.float32],
    y: npt.NDArray[np.int64],
    num_classes: int,
    protocols: Sequence[Protocol],
    seed: int,
    *,
    device: str = "cpu",
    progress: Progress | None = None,
) -> list[Fitted]:
    """Fit a probe under each protocol; a fit that diverges is its :class:`RunError` in the list.

    A probe whose module has a ``fit_many`` of this signature (without ``probe``) fits them together; each result must
    be what its ``fit`` gives alone.

    Parameters
    ----------
    probe : str
        Name of the probe.
    x : ndarray of float32, shape (n, d)
        Features.
    y : ndarray of int64, shape (n,)
        Class indices below ``num_classes``.
    protocols : sequence of Protocol
        One a fit.
    seed : int
        The same for all.

    Raises
    ------
    UnknownNameError
        If no probe has this name.
    """
    fit = get(probe)
    together = getattr(importlib.import_module(f".{PROBES[probe]}", __package__), "fit_many", None)
    if together is not None:
        return cast("FitMany", together)(x, y, num_classes, protocols, seed, device=device, progress=progress)
    fitted: list[Fitted] = []
    for k, protocol in enumerate(protocols):
        report = None if progress is None else part(progress, k / len(protocols), (k + 1) / len(protocols))
        try:
            fitted.append(fit(x, y, num_classes, protocol, seed, device=device, progress=report))
        except RunError as error:
            fitted.append(error)
    return fitted
