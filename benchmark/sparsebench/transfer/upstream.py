"""Mode ``upstream``: a checkpoint's own head on its own task; nothing is trained, and logits are kept on request.

Batches are scored as they come, so the memory is that of the predicted classes: 60,000 images of 1,000 classes would
take 240 MB of logits.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..analysis.metrics import in_top, mean_per_class
from ..common.progress import Progress
from ..datasets.base import Split
from ..datasets.images.transforms import Transform
from ..engines.kept import KeptEngine
from ..models.backbone import Backbone
from ..schema import Numerics, RunSpec, Scores
from ..store import Predictions
from .features.extraction import outputs
from .outcome import Inputs, Outcome

TOP = 5
"""Largest logits that may hold the label, for ``top5``."""

BATCH = 256


@dataclass(frozen=True, eq=False)
class HeadScores:
    """What a checkpoint's own head gives on n test images.

    Parameters
    ----------
    top1, top5, mean_per_class : float
        Fractions; the mean is over the classes that have images. ``top5`` is 1 for heads of five classes or fewer.
    predicted : ndarray of int64, shape (n,)
        Predicted class indices; of equal logits the first.
    logits : ndarray of float16, shape (n, C), optional
        Where they were asked for.
    """

    top1: float
    top5: float
    mean_per_class: float
    predicted: npt.NDArray[np.int64]
    logits: npt.NDArray[np.float16] | None


def score_head(
    backbone: Backbone,
    split: Split,
    transform: Transform,
    numerics: Numerics,
    *,
    classes: int,
    keep_logits: bool = False,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
    workers: int | None = None,
    engine: KeptEngine | None = None,
) -> HeadScores:
    """Run a network with its head over test images and score it.

    Parameters
    ----------
    backbone : Backbone
        The network with its head (``load_entry(..., head=True)``).
    split : Split
        The images; labels are numbers of the head's classes.
    transform : Transform
        Decoded image to the network's input.
    numerics : Numerics
        Engine, device, precision, threads (which the caller has set).
    classes : int
        Of the head.
    keep_logits : bool
        Return the logits in half precision, too.
    cache_dir : Path or None
        Where decoded crops are cached.
    progress : callable, optional
        ``progress(images done, images)``.
    workers : int or None
        Threads that decode.
    engine : KeptEngine, optional
        The engine of a test before; one that fits is used again.

    Raises
    ------
    RunError
        If a logit isn't finite, or an image doesn't get one per class.
    """
    n, row, right5 = len(split), 0, 0
    predicted = np.empty(n, dtype=np.int64)
    logits = np.empty((n, classes), dtype=np.float16) if keep_logits else None
    batches = outputs(
        backbone,
        split,
        transform,
        numerics,
        gives=("logits", classes),
        cache_dir=cache_dir,
        batch_size=BATCH,
        progress=progress,
        workers=workers,
        engine=engine,
    )
    for batch in batches:
        rows = slice(row, row + len(batch))
        predicted[rows] = batch.argmax(axis=1)
        right5 += int(in_top(batch, split.labels[rows], TOP).sum())
        if logits is not None:
            logits[rows] = np.clip(batch, np.finfo(np.float16).min, np.finfo(np.float16).max)
        row += len(batch)
    return HeadScores(
        float(np.mean(predicted == split.labels)),
        right5 / n,
        mean_per_class(predicted, split.labels, classes),
        predicted,
        logits,
    )


def run_upstream(
    inputs: Inputs,
    spec: RunSpec,
    *,
    keep_logits: bool,
    cache_dir: Path | None,
    progress: Progress,
    workers: int | None,
) -> Outcome:
    """Run one cell in mode ``upstream``; see :func:`score_head`."""
    data = inputs.data
    classes = len(data.classes)
    found = score_head(
        inputs.backbone,
        data.test,
        inputs.transform,
        spec.numerics,
        classes=classes,
        keep_logits=keep_logits,
        cache_dir=cache_dir,
        progress=progress,
        workers=workers,
        engine=inputs.engine,
    )
    scores = Scores(
        top1=found.top1,
        mean_per_class=found.mean_per_class,
        top5=found.top5,
        n_train=0,
        n_test=len(data.test),
        n_classes=classes,
    )
    return Outcome(scores, Predictions(data.test.ids, data.test.labels, found.predicted, found.logits))
