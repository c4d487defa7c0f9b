"""What every probe is given, what it gives back, and the validation rows it may choose on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch

from ...schema import Convergence, FewShotScore, Metric, Trial
from .base import LinearHead, stream_seed
from .convergence import least
from .rotation import Rotation, rotate
from .rows import Rows

Labels = npt.NDArray[np.int64]
Logits = npt.NDArray[np.float32]

VAL_SHARE = 0.2
"""Share of each class's training images that is held out where there is no validation split."""


@dataclass(frozen=True)
class ProbeData:
    """Features and labels of one task.

    Parameters
    ----------
    x : Rows of n rows
        Train, then val.
    y : ndarray of int64, shape (n,)
        Their classes.
    n_train : int
        How many of them are train's.
    x_test : ndarray of float32, shape (m, d)
        Features of test.
    y_test : ndarray of int64, shape (m,)
        Their classes.
    num_classes : int
        Classes of the task, C.
    metric : "top1" or "mean_per_class"
        What hyperparameters are chosen by.
    """

    x: Rows
    y: Labels
    n_train: int
    x_test: npt.NDArray[np.float32]
    y_test: Labels
    num_classes: int
    metric: Metric = "top1"

    @cached_property
    def fitted(self) -> npt.NDArray[np.bool_]:
        """The rows that are fitted while something is chosen; the others are the validation rows.

        Those are val's; without val a fifth of each class's training images (rounded, by a draw that no seed changes),
        of which a class keeps at least one.
        """
        mask = np.arange(len(self.y)) < self.n_train
        if self.n_train < len(self.y):
            return mask
        source = np.random.default_rng(stream_seed(0, "validation"))
        for label in np.unique(self.y):
            rows = np.flatnonzero(self.y == label)
            mask[source.permutation(rows)[: min(round(VAL_SHARE * len(rows)), len(rows) - 1)]] = False
        if mask.all() and len(mask) > 1:  # one or two images per class: hold out one image
            mask[source.integers(len(mask))] = False
        return mask

    @cached_property
    def _rotations(self) -> dict[str, Rotation]:
        return {}

    def rotation(self, device: str = "cpu") -> Rotation:
        """Return the set-up of L-BFGS, shared by all its fits on these features."""
        if device not in self._rotations:
            self._rotations[device] = rotate(self.x, device)
        return self._rotations[device]

    @cached_property
    def _least(self) -> dict[tuple[int, float, str], float | None]:
        return {}

    def least(self, count: int, weight_decay: float, device: str = "cpu") -> float | None:
        """Return the least objective of any head on the first ``count`` rows, shared by all seeds; None if unknown."""
        key = (count, weight_decay, device)
        if key not in self._least:
            try:
                rotation = self.rotation(device)
                self._least[key] = least(self.x.head(count), self.y[:count], self.num_classes, rotation, weight_decay)
            except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
                # features so large that their squares aren't finite
                self._least[key] = None
        return self._least[key]


@dataclass(frozen=True)
class Fitted:
    """What a probe gives for one seed.

    ``seconds`` is the time of the fit; seeds that were fitted together share it equally. ``chosen`` is one of the
    ``trials``, which stay empty where nothing was chosen. ``head`` is None for probes that have no weights,
    ``train_loss`` (mean cross-entropy) and
    ``convergence`` for those that fit no probabilities.
    """

    test_logits: Logits
    seconds: float
    n_train: int
    chosen: Trial | None = None
    trials: tuple[Trial, ...] = ()
    train_loss: float | None = None
    val_logits: Logits | None = None
    head: LinearHead | None = None
    convergence: Convergence | None = None
    few_shot: Sequence[FewShotScore] = ()
