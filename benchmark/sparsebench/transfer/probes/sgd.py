"""The published linear protocol, and a grid of learning rates and weight decays around it chosen on validation."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ...common.progress import Progress, part
from ...schema import InputError, Protocol, RunError, Trial
from .base import LinearHead, cross_entropy
from .choice import at_best, choose, scored
from .convergence import measure
from .data import Fitted, ProbeData
from .heads import fit_heads
from .rows import Rows


def fit(
    x: npt.NDArray[np.float32],
    y: npt.NDArray[np.int64],
    num_classes: int,
    protocol: Protocol,
    seed: int,
    *,
    device: str = "cpu",
    progress: Progress | None = None,
) -> LinearHead:
    """Fit a linear classifier by the published SGD protocol.

    The seed's own generators draw the initial weights (as ``nn.Linear`` does) and a fresh permutation each epoch; the
    last, smaller batch of an epoch is kept. Nothing is shared between seeds.

    Parameters
    ----------
    x : ndarray of float32, shape (n, d)
        Features.
    y : ndarray of int64, shape (n,)
        Class indices below ``num_classes``.
    num_classes : int
        Classes of the task, C.
    protocol : Protocol
        Learning rates, momentum, weight decay, batch size, epochs.
    seed : int
        Of the initial weights and the order.
    device : str
        Where to compute; the features must fit there.
    progress : callable, optional
        ``progress(epochs done, epochs)``.

    Raises
    ------
    InputError
        If there are no images, or shapes or labels don't fit.
    RunError
        If the weights stop being finite.
    """
    if x.ndim != 2 or y.shape != (len(x),) or len(x) == 0:
        raise InputError(f"features of shape {x.shape} and labels of shape {y.shape}", "give (n, d) and (n,), n > 0")
    head = fit_heads(Rows([x]), y, num_classes, [protocol], [seed], device=device, progress=progress)[0][0]
    if isinstance(head, RunError):
        raise head
    return head


def fit_seeds(
    data: ProbeData,
    protocol: Protocol,
    seeds: Sequence[int],
    *,
    device: str = "cpu",
    progress: Progress | None = None,
) -> list[Fitted | RunError]:
    """Fit a head per seed, all in one program; with a grid each seed first chooses its point, in one program again.

    ``train_on: train`` scores the held-out rows instead of training on them.
    """
    started = time.perf_counter()
    searching, training = progress, progress
    if progress is not None and protocol.grid is not None:
        share = 1 - 1 / (len(protocol.points()) + 1)
        searching, training = part(progress, 0.0, share), part(progress, share, 1.0)
    trials = search(data, protocol, seeds, device=device, progress=searching) if protocol.grid is not None else []
    kept = data.n_train if protocol.train_on == "train" else len(data.y)
    x, y = data.x.head(kept), data.y[:kept]
    fitted: list[Fitted | RunError] = []
    for seed, own in zip(seeds, trials or [()] * len(seeds), strict=True):
        try:
            fitted.append(Fitted(_EMPTY, 0.0, kept, choose(own, data.metric) if own else None, trials=own))
        except RunError as error:
            fitted.append(RunError(f"{error.message} (seed {seed})", error.hint))
    for settings, members in _alike(protocol, fitted).items():
        heads = fit_heads(
            x, y, data.num_classes, [settings], [seeds[i] for i in members], device=device, progress=training
        )
        for i, (head,) in zip(members, heads, strict=True):
            entry = fitted[i]
            assert isinstance(entry, Fitted)  # noqa: S101 - only these are trained
            if isinstance(head, LinearHead):
                fitted[i] = _with_head(entry, head, data, x, y, settings.weight_decay, device)
            else:
                fitted[i] = head
    seconds = (time.perf_counter() - started) / max(1, len(seeds))
    return [f if isinstance(f, RunError) else replace(f, seconds=seconds) for f in fitted]


def search(
    data: ProbeData,
    protocol: Protocol,
    seeds: Sequence[int],
    *,
    device: str = "cpu",
    progress: Progress | None = None,
) -> list[tuple[Trial, ...]]:
    """Fit every point of the grid for every seed on the fitted rows, and score each on the validation rows."""
    points = protocol.points()
    settings = [protocol.at(*point) for point in points]
    mask = data.fitted
    count = int(mask.sum())
    prefix = bool(mask[:count].all())
    heads = fit_heads(
        data.x.head(count) if prefix else data.x,
        data.y[:count] if prefix else data.y,
        data.num_classes,
        settings,
        seeds,
        rows=None if prefix else np.flatnonzero(mask),
        device=device,
        progress=progress,
    )
    held_out, labels = data.x.where(~mask), data.y[~mask]
    return [
        tuple(
            scored(
                Trial(settings={"lr": lr, "weight_decay": decay}),
                None if isinstance(head, RunError) else head.logits(held_out),
                labels,
                data.num_classes,
            )
            for (lr, decay), head in zip(points, row, strict=True)
        )
        for row in heads
    ]


_EMPTY = np.zeros((0, 0), np.float32)


def _alike(protocol: Protocol, fitted: Sequence[Fitted | RunError]) -> dict[Protocol, list[int]]:
    """Return the seeds that train at one learning rate and weight decay, by these settings."""
    groups: dict[Protocol, list[int]] = {}
    for i, entry in enumerate(fitted):
        if not isinstance(entry, RunError):
            settings = at_best(protocol, entry.chosen) if entry.chosen else protocol
            groups.setdefault(settings, []).append(i)
    return groups


def _with_head(
    entry: Fitted,
    head: LinearHead,
    data: ProbeData,
    x: Rows,
    y: npt.NDArray[np.int64],
    decay: float,
    device: str,
) -> Fitted:
    rest = data.x.where(np.arange(len(data.y)) >= len(y))
    logits = head.logits(x)
    loss = cross_entropy(logits, y)
    return replace(
        entry,
        test_logits=head.logits(data.x_test),
        train_loss=loss,
        val_logits=head.logits(rest) if len(rest) else None,
        head=head,
        convergence=measure(head, x, y, logits, loss, decay, data.least(len(y), decay, device)),
    )
