"""Logits of a finetuned network, put together again from its weights, on a split."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from ...common import interruption
from ...common.progress import Progress, Throttle
from ...common.timings import waiting
from ...datasets.base import Split
from ...datasets.images.crops import evaluation_views
from ...engines.context import device_of, repeatable
from ...schema import Numerics, RunError
from ..features.extraction import decoder_of
from .evaluation import EVALUATION_BATCH, batch_logits
from .model import make_classifier

if TYPE_CHECKING:
    from torch import Tensor

    from ...datasets.images.transforms import Transform
    from ...models.backbone import Backbone


def finetuned_logits(
    backbone: Backbone,
    state: Mapping[str, Tensor],
    num_classes: int,
    split: Split,
    transform: Transform,
    *,
    numerics: Numerics,
    cache_dir: Path | None,
    workers: int | None = 0,
    progress: Progress | None = None,
) -> npt.NDArray[np.float32]:
    """Return the logits (n, C) of a finetuned network, in eval mode.

    Parameters
    ----------
    backbone : Backbone
        What was finetuned.
    state : mapping of str to Tensor
        The weights, as a run keeps them.
    num_classes : int
        Classes of the task.
    split : Split
        The images.
    transform : Transform
        Geometry and normalisation.
    numerics : Numerics
        How it is computed.
    cache_dir : Path or None
        Where crops are cached.
    workers : int or None
        Threads that decode.
    progress : callable, optional
        ``progress(images done, images)``.

    Raises
    ------
    RunError
        If the weights don't fit the backbone.
    """
    device = device_of(numerics)
    model = make_classifier(backbone, num_classes, 0, numerics)
    try:
        model.load_named(state, backbone.info.head_name)
    except (RuntimeError, KeyError) as error:
        raise RunError(f"the kept weights don't fit {backbone.info.arch}", "run the cell again") from error
    model.eval()
    forward = torch.compile(model) if numerics.compile else model
    out = np.empty((len(split), num_classes), dtype=np.float32)
    report, row = Throttle(progress, len(split)), 0
    batches = evaluation_views(
        split,
        transform,
        EVALUATION_BATCH,
        decoder=numerics.decoder,
        decoder_version=decoder_of(split, numerics),
        cache_dir=cache_dir,
        workers=workers,
    )
    with torch.inference_mode(), repeatable(device):
        for images in waiting("data", batches):
            out[row : row + len(images)] = batch_logits(forward, images, transform, device, numerics).numpy()
            row += len(images)
            interruption.check()
            report.advance(len(images))
    return out
