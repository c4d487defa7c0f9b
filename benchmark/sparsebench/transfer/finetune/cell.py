"""What a finetuning is given, and what it gives: the cell, who follows it, and its result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from torch import Tensor

from ...datasets.base import Split, TaskData, partition
from ...schema import MaskProof, Numerics, Protocol
from .training_state import TrainingState

if TYPE_CHECKING:
    from ...datasets.images.transforms import Transform
    from ...models.backbone import Backbone


@dataclass(frozen=True)
class FinetuneResult:
    """What finetuning gives.

    Parameters
    ----------
    n_train : int
        Images that were trained on.
    test_logits : ndarray of float32, shape (n_test, C)
        At the end of the last epoch, in the order of the test split.
    val_logits : ndarray of float32, shape (n_val, C), or None
        The same for the validation split; None where the protocol trains on it or there is none.
    train_loss : float
        Mean cross-entropy (nats) over the images of the last epoch, as they were trained on.
    best_test : float or None
        The best test accuracy (the task's metric) of any epoch; None unless the protocol evaluates each epoch.
    mask_proof : MaskProof
        That no masked weight has moved from zero, and that the masks held what the backbone's description reports.
    state_dict : dict of str to Tensor
        The finetuned weights under the backbone's names, and the head's; on the CPU.
    """

    n_train: int
    test_logits: npt.NDArray[np.float32]
    val_logits: npt.NDArray[np.float32] | None
    train_loss: float
    best_test: float | None
    mask_proof: MaskProof
    state_dict: dict[str, Tensor] = field(repr=False)


@dataclass(frozen=True)
class EpochReport:
    """What an epoch gave: mean loss (nats), the test score where the protocol evaluates each epoch, and seconds."""

    epoch: int
    lr: float
    loss: float
    seconds: float
    test: float | None = None


Observe = Callable[[EpochReport], None]


@dataclass(frozen=True)
class Watch:
    """Who follows a training: what keeps its state, and what is called after each epoch."""

    resume: TrainingState | None
    observe: Observe | None


@dataclass(frozen=True)
class Cell:
    """What defines the numbers of one finetuning."""

    backbone: Backbone
    data: TaskData
    transform: Transform
    protocol: Protocol
    seed: int
    numerics: Numerics

    @property
    def train(self) -> Split:
        """The images to train on."""
        return partition(self.data, self.protocol.train_on)[0]

    @property
    def val(self) -> Split | None:
        """The images held out, where the protocol holds any out."""
        return partition(self.data, self.protocol.train_on)[1]

    @property
    def each_epoch(self) -> bool:
        """Whether the test split is scored after each epoch."""
        return self.protocol.eval_test == "each_epoch"
