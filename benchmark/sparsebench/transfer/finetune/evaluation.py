"""Logits and score of a network in the middle of its finetuning, or at the end; several processes take turns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ...common.timings import stage, waiting
from ...datasets.base import Split, TaskData
from ...datasets.images.batches import evaluation_batches
from ...engines.context import autocast
from ...schema import Numerics, RunError
from ..probes.base import Accuracy, evaluate
from .batches import to_network
from .parallel import Team

if TYPE_CHECKING:
    from ...datasets.images.transforms import Transform

EVALUATION_BATCH = 256


def batch_logits(
    forward: Callable[[Tensor], Tensor], images: Tensor, transform: Transform, device: torch.device, numerics: Numerics
) -> Tensor:
    """Return the logits (B, C) of uint8 images, on the CPU."""
    with stage("train"):
        batch = to_network(images, transform, device, numerics)
        with autocast(numerics):
            logits = forward(batch)
        return logits.float().cpu()


@dataclass(frozen=True)
class Evaluator:
    """What computes logits of a split: a network in eval mode, of one process or of several.

    Parameters
    ----------
    forward : callable
        Maps a normalised batch to logits.
    data : TaskData
        The task.
    transform, numerics, device, workers
        As for the training.
    team : Team
        The processes that divide the batches among them.
    """

    forward: Callable[[Tensor], Tensor]
    data: TaskData
    transform: Transform
    numerics: Numerics
    device: torch.device
    team: Team
    workers: int | None

    def logits(self, split: Split, name: str, after: Callable[[int], None]) -> npt.NDArray[np.float32]:
        """Return the logits (n, C) of a split; ``after`` is called with the images that each round took.

        Raises
        ------
        RunError
            If a logit isn't finite.
        """
        crew = self.team.crew
        out = torch.zeros(len(split), len(self.data.classes))
        with torch.inference_mode():
            batches = evaluation_batches(
                split,
                self.transform,
                EVALUATION_BATCH,
                workers=self.workers,
                decoder=self.numerics.decoder,
                first=crew.rank,
                every=crew.alive,
            )
            mine = iter(waiting("data", batches))
            for start in range(0, len(split), EVALUATION_BATCH * crew.alive):
                images = next(mine, None)
                if images is not None:
                    row = start + EVALUATION_BATCH * crew.rank
                    out[row : row + len(images)] = batch_logits(
                        self.forward, images, self.transform, self.device, self.numerics
                    )
                after(min(EVALUATION_BATCH * crew.alive, len(split) - start))
        logits: npt.NDArray[np.float32] = self.team.add(out).numpy()
        if not np.isfinite(logits).all():
            bad = int(np.count_nonzero(~np.isfinite(logits).all(axis=1)))
            raise RunError(
                f"{bad} of {len(logits)} {name} images have logits that aren't finite", "try a lower learning rate"
            )
        return logits

    def score(self, logits: npt.NDArray[np.float32]) -> float:
        """Return the task's metric of the test split's logits."""
        accuracy: Accuracy = evaluate(logits, self.data.test.labels, len(self.data.classes))
        return accuracy.mean_per_class if self.data.task.metric == "mean_per_class" else accuracy.top1
