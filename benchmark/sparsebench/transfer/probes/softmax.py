"""The loss of softmax regression as a function of logits, accurate also where it is nearly zero."""

from __future__ import annotations

import torch
from torch import Tensor

from .rows import CHUNK


class CrossEntropy:
    """Mean cross-entropy over the fitted rows of logits (n, C), and its derivatives.

    With z = logits - logit of the label, the loss of a row is log(1 + sum of exp z over the other classes), and the
    error of the label's own class is minus the sum of the others': neither cancels as the classes become separable.

    Parameters
    ----------
    labels : Tensor of int64, shape (n,)
        Classes.
    fitted : Tensor of bool, shape (n,), or None
        The rows that count; None for all.
    """

    def __init__(self, labels: Tensor, fitted: Tensor | None = None) -> None:
        self.labels = labels.unsqueeze(1)
        self.fitted = fitted
        self.count = len(labels) if fitted is None else int(fitted.sum())

    def loss(self, logits: Tensor) -> float:
        """Return the mean loss."""
        return sum(self._terms(logits[at], at)[0] for at in self._chunks()) / self.count

    def along(self, logits: Tensor, direction: Tensor, step: float) -> tuple[float, float]:
        """Return the mean loss at ``logits + step * direction`` and its derivative by ``step``."""
        loss = slope = 0.0
        for at in self._chunks():
            part, errors = self._terms(torch.add(logits[at], direction[at], alpha=step), at)
            loss += part
            slope += float(errors.mul_(direction[at]).sum(1).sum(dtype=torch.float64))
        return loss / self.count, slope / self.count

    def errors(self, logits: Tensor, out: Tensor) -> float:
        """Write the derivative of the mean loss by the logits to ``out`` (n, C); return the mean of p (1 - p)."""
        spread = 0.0
        for at in self._chunks():
            errors = self._terms(logits[at], at)[1]
            torch.div(errors, self.count, out=out[at])
            size = errors.abs_()  # p, or 1 - p of the label's class
            spread += float((size - size * size).sum(1).sum(dtype=torch.float64))
        return spread / (self.count * logits.shape[1])

    def _terms(self, logits: Tensor, at: slice) -> tuple[float, Tensor]:
        """Return the summed loss of some rows, and the derivative of each one's loss by its logits (m, C)."""
        labels = self.labels[at]
        margins = logits - logits.gather(1, labels)
        highest = margins.amax(1, keepdim=True)  # at least 0, the label's own
        errors = margins.sub_(highest).exp_()
        own = errors.gather(1, labels)
        errors.scatter_(1, labels, 0.0)
        others = errors.sum(1, keepdim=True)
        loss = torch.where(highest > 0, highest + torch.log(own + others), torch.log1p(others))
        total = own.add_(others)
        errors.div_(total).scatter_(1, labels, -others / total)
        if self.fitted is not None:
            keep = self.fitted[at].unsqueeze(1)
            loss, errors = loss * keep, errors.mul_(keep)
        return float(loss.sum(dtype=torch.float64)), errors

    def _chunks(self) -> list[slice]:
        return [slice(low, low + CHUNK) for low in range(0, len(self.labels), CHUNK)]
