"""The set-up of L-BFGS: coordinates in which softmax regression is well conditioned, at the same optimum.

With A = [X, 1] and the eigendecomposition A^T A / n = Q diag(w) Q^T, weights V = W Q give the logits A Q V^T, and the
L2 penalty doesn't change, Q being orthogonal. If probabilities p didn't depend on the image, the Hessian of the mean
cross-entropy would be diag(w) p (1 - p) for each class in these coordinates. With s the mean of p (1 - p), 1 / (s w +
l2) is then close to its inverse's diagonal, penalty included, also where the classes are nearly separated and s small.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .rows import Rows

COPY_BYTES = 2**28
"""Rotated features are kept where they take no more than this; else weights and gradients are rotated instead."""


@dataclass(frozen=True)
class Rotation:
    """Eigenvectors Q (d + 1, d + 1), float32, and eigenvalues w (d + 1,), float64, of the extended second moment."""

    basis: Tensor
    values: Tensor


def rotate(x: Rows, device: torch.device | str = "cpu") -> Rotation:
    """Return the rotation of features (n, d): one pass over them, and an eigendecomposition of d + 1 rows."""
    d = x.dimension
    moment = torch.zeros(d + 1, d + 1, dtype=torch.float64, device=device)
    for _, rows in x.chunks(device):
        moment[:d, :d] += (rows.T @ rows).double()
        total = rows.sum(0, dtype=torch.float64)
        moment[d, :d] += total
        moment[:d, d] += total
    moment[d, d] = len(x)
    values, basis = torch.linalg.eigh(moment / len(x))
    return Rotation(basis.float().contiguous(), values.clamp_min(0))


class RotatedFeatures:
    """The matrix A Q, multiplied with weights and with errors, without ever being copied where it is large.

    Parameters
    ----------
    x : Rows
        Features (n, d).
    rotation : Rotation
        Of these features, or of others of the same dimension.
    """

    def __init__(self, x: Rows, rotation: Rotation) -> None:
        self.x, self.basis = x, rotation.basis
        self.device = rotation.basis.device
        self.dimension = x.dimension + 1
        self._copy: Tensor | None = None
        if 4 * len(x) * self.dimension <= COPY_BYTES:
            self._copy = torch.empty(len(x), self.dimension, device=self.device)
            for at, rows in x.chunks(self.device):
                torch.addmm(self.basis[-1], rows, self.basis[:-1], out=self._copy[at])

    def __len__(self) -> int:
        return len(self.x)

    def logits(self, weights: Tensor, out: Tensor) -> None:
        """Write A Q V^T to ``out`` (n, C) for weights V (C, d + 1)."""
        if self._copy is not None:
            torch.mm(self._copy, weights.T, out=out)
            return
        own = self.basis @ weights.T
        for at, rows in self.x.chunks(self.device):
            torch.addmm(own[-1], rows, own[:-1], out=out[at])

    def gradient(self, errors: Tensor) -> Tensor:
        """Return E^T A Q (C, d + 1) for errors E (n, C)."""
        if self._copy is not None:
            return errors.T @ self._copy
        total = torch.zeros(errors.shape[1], self.dimension, device=self.device)
        for at, rows in self.x.chunks(self.device):
            total[:, :-1].addmm_(errors[at].T, rows)
        total[:, -1] = errors.sum(0)
        return total @ self.basis

    def head(self, weights: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Return weight (C, d) and bias (C,) for the features as they were."""
        plain = (weights.double() @ self.basis.double().T).float().cpu().numpy()
        return plain[:, :-1].copy(), plain[:, -1].copy()
