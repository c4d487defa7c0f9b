"""Ridge regression on one-hot targets in closed form, its penalty chosen on validation.

With features and targets centred, B = (X^T X + l2 I)^-1 X^T Y minimises |X B - Y|^2 + l2 |B|^2; the intercept isn't
penalised. One eigendecomposition X^T X = Q diag(w) Q^T serves all penalties: B = Q (w + l2)^-1 Q^T X^T Y. In double
precision, as the smallest penalties need; features are read in chunks.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ...common.progress import Progress, Throttle
from ...schema import Protocol, RunError, Trial
from .base import LinearHead
from .choice import choose, scored
from .data import Fitted, ProbeData
from .rows import Rows

_CHUNK = 2048  # rows in double precision at a time
_LOGITS_BYTES = 2**27  # of held-out logits kept at a time


def fit_seeds(
    data: ProbeData,
    protocol: Protocol,
    seeds: Sequence[int],
    *,
    device: str = "cpu",
    progress: Progress | None = None,
) -> list[Fitted | RunError]:
    """Fit once, for all seeds: the solution depends on none."""
    started = time.perf_counter()
    penalties = protocol.settings.l2.values()
    report = Throttle(progress, 3)
    trials: tuple[Trial, ...] = ()
    chosen, penalty = None, penalties[0]
    everything = _moments(data, np.ones(len(data.y), dtype=bool), device)
    report.advance(1)
    if len(penalties) > 1:
        mask = data.fitted
        held_out = _moments(data, ~mask, device)
        trials = _path(everything.without(held_out), data.x.where(~mask), data.y[~mask], penalties, device)
        chosen = choose(trials, data.metric)
        penalty = chosen.settings["l2"]
    report.advance(1)
    head = everything.centred().solve(penalty)
    report.advance(1)
    one = Fitted(head.logits(data.x_test), 0.0, len(data.y), chosen, trials, head=head)
    return [replace(one, seconds=(time.perf_counter() - started) / len(seeds)) for _ in seeds]


@dataclass(frozen=True)
class _Centred:
    """Centred second moments, in double precision: X^T X (d, d), X^T Y (d, C), and the means of both."""

    square: Tensor
    cross: Tensor
    x_mean: Tensor
    y_mean: Tensor

    def solve(self, penalty: float) -> LinearHead:
        """Return the minimum for one penalty."""
        system = self.square + penalty * torch.eye(len(self.square), dtype=torch.float64, device=self.square.device)
        factor, failed = torch.linalg.cholesky_ex(system)
        if int(failed):  # the penalty is lost in the rounding of the moments: as few directions as hold a meaning
            return self.head(
                torch.linalg.lstsq(system.cpu(), self.cross.cpu(), driver="gelsd").solution.to(system.device)
            )
        return self.head(torch.cholesky_solve(self.cross, factor))

    def head(self, weight: Tensor) -> LinearHead:
        """Return the classifier of weights (d, C)."""
        bias = self.y_mean - self.x_mean @ weight
        return LinearHead(weight.T.float().cpu().contiguous().numpy(), bias.float().cpu().numpy())


@dataclass(frozen=True)
class _Moments:
    """Sums over rows, in double precision; those of disjoint rows subtract."""

    count: int
    square: Tensor
    cross: Tensor
    x_sum: Tensor
    y_sum: Tensor

    def without(self, other: _Moments) -> _Moments:
        """Return the moments of the rows that ``other`` doesn't have."""
        return _Moments(
            self.count - other.count,
            self.square - other.square,
            self.cross - other.cross,
            self.x_sum - other.x_sum,
            self.y_sum - other.y_sum,
        )

    def centred(self) -> _Centred:
        """Return the moments about the means."""
        x_mean, y_mean = self.x_sum / self.count, self.y_sum / self.count
        square = self.square - torch.outer(self.x_sum, x_mean)
        return _Centred(square, self.cross - torch.outer(x_mean, self.y_sum), x_mean, y_mean)


def _moments(data: ProbeData, mask: npt.NDArray[np.bool_], device: str) -> _Moments:
    x, y = data.x.where(mask) if not mask.all() else data.x, data.y[mask]
    d = x.dimension
    square = torch.zeros(d, d, dtype=torch.float64, device=device)
    cross = torch.zeros(d, data.num_classes, dtype=torch.float64, device=device)
    x_sum = torch.zeros(d, dtype=torch.float64, device=device)
    labels = torch.from_numpy(y).to(device)
    for at, rows in x.chunks(device, _CHUNK):
        wide = rows.double()
        square.addmm_(wide.T, wide)
        x_sum += wide.sum(0)
        cross.addmm_(wide.T, one_hot(labels[at], data.num_classes).double())  # adds in the same order on any device
    y_sum = torch.bincount(labels, minlength=data.num_classes).double()
    return _Moments(len(y), square, cross, x_sum, y_sum)


def _path(
    moments: _Moments, x: Rows, y: npt.NDArray[np.int64], penalties: Sequence[float], device: str
) -> tuple[Trial, ...]:
    """Score each penalty on held-out rows (m, d): as many penalties in one pass over them as their logits allow."""
    centred = moments.centred()
    spectrum, basis = torch.linalg.eigh(centred.square)
    spectrum = spectrum.clamp_min(0)
    target = basis.T @ centred.cross
    classes = len(centred.y_mean)
    together = max(1, _LOGITS_BYTES // (4 * classes * max(1, len(x))))
    trials: list[Trial] = []
    for first in range(0, len(penalties), together):
        some = penalties[first : first + together]
        weights = torch.cat([basis @ (target / (spectrum + penalty).unsqueeze(1)) for penalty in some], 1)
        logits = torch.empty(len(some), len(x), classes)
        for at, rows in x.chunks(device, _CHUNK):
            found = ((rows.double() - centred.x_mean) @ weights).view(len(rows), len(some), classes) + centred.y_mean
            logits[:, at] = found.transpose(0, 1).float().cpu()
        trials += [
            scored(Trial(settings={"l2": p}), own.numpy(), y, classes) for p, own in zip(some, logits, strict=True)
        ]
    return tuple(trials)
