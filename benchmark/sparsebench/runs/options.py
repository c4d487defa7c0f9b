"""What a run is computed and kept with: which records are done again, what else is kept, and where."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..common.retry import CHECKPOINT_SECONDS, RETRIES, RETRY_SECONDS
from ..store import LEASE_SECONDS

Overwrite = Literal["never", "failed", "always"]
PredictionKind = Literal["logits", "classes"]

OVERWRITE: tuple[Overwrite, ...] = ("never", "failed", "always")
PREDICTIONS: tuple[PredictionKind, ...] = ("logits", "classes")


@dataclass(frozen=True)
class RunOptions:
    """Where a run reads and writes, what else it leaves, and which records it leaves as they are.

    ``since`` is the date of the command's plan file, in nanoseconds by the clock of the results' file system: a record
    written from then on is this command's own, or that of a process that works on the same runs. ``lease_seconds``
    is how long a run stays claimed for a process that is not heard of any more. ``checkpoint_seconds`` is how often
    a finetuning writes down how far it is; ``predictions`` says whether test logits are kept or the predicted
    classes alone (None: the classes in mode ``upstream``, logits in the others), ``save_heads`` whether a probe's
    trained classifier is; ``retries`` and ``retry_seconds`` say how often, and after how long, a run is tried again
    that the disk or the network failed; ``logger`` is one of :data:`sparsebench.runs.logs.LOGGERS`.
    """

    results: Path
    data_dir: Path | None = None
    cache_dir: Path | None = None
    save_weights: bool = False
    save_heads: bool = True
    predictions: PredictionKind | None = None
    workers: int | None = None
    overwrite: Overwrite = "failed"
    since: int | None = None
    lease_seconds: float = LEASE_SECONDS
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    retries: int = RETRIES
    retry_seconds: float = RETRY_SECONDS
    logger: str | None = None
