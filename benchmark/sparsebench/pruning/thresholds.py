"""Soft thresholds that are learned: STR's effective weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SoftThreshold(nn.Module):
    """A layer's effective weight ``sign(w) relu(|w| - sigmoid(s))``, ``s`` learned (Kusupati et al., 2020, eq. 2)."""

    def __init__(self, initial: float) -> None:
        super().__init__()
        self.s = nn.Parameter(torch.tensor(initial))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the effective weight."""
        return torch.sign(weight) * torch.relu(weight.abs() - torch.sigmoid(self.s))


def logit(magnitude: Tensor) -> Tensor:
    """Return the inverse sigmoid; magnitudes from 1 on, which no threshold reaches, count as just below it."""
    return magnitude.clamp(max=1 - 1e-6).logit()
