"""What a run works on, and what it gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..datasets import TaskData
from ..datasets.images.transforms import Transform
from ..engines.kept import KeptEngine
from ..models.backbone import Backbone
from ..schema import FurtherTest, MaskProof, Processes, Scores, Trial
from ..store import Predictions

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Inputs:
    """A checkpoint, a task, the transform between them, and the engine that runs the checkpoint."""

    backbone: Backbone
    data: TaskData
    transform: Transform
    engine: KeptEngine = field(default_factory=KeptEngine, repr=False, compare=False)


@dataclass(frozen=True)
class Further:
    """What a run scored and predicted on a further test set."""

    test: FurtherTest
    predictions: Predictions


@dataclass(frozen=True)
class Outcome:
    """What a run gives.

    Parameters
    ----------
    scores, predictions, mask_proof, trials
        As in the run's record.
    further : tuple of Further
        What it gives on further test sets.
    feature_seconds, features_cached
        Linear mode: how long the features took, and whether all were cached.
    shared_seconds : float
        Corrects the run's time where one fit served several runs of the group.
    tensors : mapping of str to Tensor, optional
        What may be kept, on the CPU: the finetuned weights, or the trained classifier of a probe that has one.
    processes : Processes, optional
        What became of those that trained it together.
    weights_file, head_file : str, optional
        Where the tensors were written, below the results folder.
    """

    scores: Scores
    predictions: Predictions
    mask_proof: MaskProof | None = None
    trials: tuple[Trial, ...] = ()
    further: tuple[Further, ...] = ()
    feature_seconds: float | None = None
    features_cached: bool | None = None
    shared_seconds: float = 0.0
    tensors: Mapping[str, Tensor] | None = field(default=None, repr=False)
    processes: Processes | None = None
    weights_file: str | None = None
    head_file: str | None = None
