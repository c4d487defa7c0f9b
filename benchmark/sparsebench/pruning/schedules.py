"""Schedules over training: learning rate, gradual sparsity, alternating phases. All scale with the number of steps."""

from __future__ import annotations

import math
from dataclasses import dataclass

Drops = tuple[tuple[float, float], ...]
"""Fractions of a training, rising, and multiples of the highest learning rate from there on."""


_WORDS: dict[str, Drops] = {"cosine": (), "constant": ((0.0, 1.0),)}


def read_drops(text: str) -> Drops:
    """Read ``cosine``, ``constant`` or steps as ``0.3:0.1,0.7:0.01``: fractions of the training and of the rate.

    Raises
    ------
    ValueError
        If it is none of these.
    """
    if text in _WORDS:
        return _WORDS[text]
    pairs = [part.split(":") for part in text.split(",")]
    drops = tuple((float(start), float(factor)) for start, factor in pairs)
    starts = [start for start, _ in drops]
    if starts != sorted(set(starts)) or not all(0 <= start <= 1 and 0 < factor <= 1 for start, factor in drops):
        raise ValueError(f"{text!r} is no schedule")
    return drops


def drops_text(drops: Drops) -> str:
    """Return a schedule as :func:`read_drops` reads it."""
    words = {value: word for word, value in _WORDS.items()}
    return words.get(drops) or ",".join(f"{start:.12g}:{factor:.12g}" for start, factor in drops)


@dataclass(frozen=True)
class LearningRate:
    """A learning-rate schedule: linear warm-up, then a cosine down to 0, or steps.

    Parameters
    ----------
    peak : float
        The highest rate.
    warmup : float
        Fraction of the training in which the rate rises.
    drops : tuple of (float, float)
        The steps; empty for a cosine.
    """

    peak: float
    warmup: float = 0.05
    drops: Drops = ()

    def at(self, step: int, total: int) -> float:
        """Return the rate of a 0-based step of ``total``."""
        if not self.drops:
            return warmup_cosine(step, total, self.peak, self.warmup)
        rising = round(self.warmup * total)
        if step < rising:
            return self.peak * (step + 1) / rising
        return self.peak * ([1.0] + [factor for start, factor in self.drops if step >= round(start * total)])[-1]


def warmup_cosine(step: int, total: int, peak: float, warmup: float = 0.05) -> float:
    """Return the learning rate of a 0-based step: linear up over ``warmup`` of the steps, then a cosine down to 0."""
    rising = max(1, round(warmup * total))
    if step < rising:
        return peak * (step + 1) / rising
    return 0.5 * peak * (1 + math.cos(math.pi * (step - rising) / max(1, total - rising)))


def cubic_sparsity(progress: float, initial: float, final: float, start: float, end: float) -> float:
    """Return the gradual-magnitude-pruning sparsity (Zhu & Gupta, 2017, eq. 1).

    ``s(t) = s_f - (s_f - s_i) (1 - (t - t_0) / (t_1 - t_0))^3`` between ``start`` and ``end``.

    Parameters
    ----------
    progress : float
        Fraction of the training done, in [0, 1]; so are ``start`` (t_0) and ``end`` (t_1).
    initial, final : float
        Sparsity at ``start`` and from ``end`` on; before ``start`` it is 0.
    """
    if progress < start:
        return 0.0
    if progress >= end:
        return final
    return final - (final - initial) * (1 - (progress - start) / (end - start)) ** 3


@dataclass(frozen=True)
class Phases:
    """AC/DC's alternation of dense and sparse phases (Peste et al., 2021, section 3.2), as fractions of the training.

    The defaults are the published 100-epoch schedule: dense for 10 epochs, then 5 sparse and 5 dense in turn from
    epoch 10 to 75, the last dense phase up to epoch 85, the last sparse phase up to 100.
    """

    first_sparse: float = 0.10
    length: float = 0.05
    last_dense: float = 0.75
    last_sparse: float = 0.85

    def boundaries(self, total: int) -> list[tuple[int, bool]]:
        """Return ``(first step, sparse?)`` of each phase for a training of ``total`` steps, in order."""
        phases = [(0, False)]
        k = 0
        while self.first_sparse + k * self.length < self.last_dense - 1e-9:
            phases.append((round((self.first_sparse + k * self.length) * total), k % 2 == 0))
            k += 1
        phases.append((round(self.last_dense * total), False))
        phases.append((round(self.last_sparse * total), True))
        merged: list[tuple[int, bool]] = []
        for start, sparse in phases:
            if not merged or merged[-1][1] != sparse:
                merged.append((start, sparse))
        return merged
