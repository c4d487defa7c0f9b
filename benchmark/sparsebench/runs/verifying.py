"""Whether the accuracy published for a checkpoint holds, by its own head on its own task; no record is kept."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..datasets import open_task
from ..datasets.images.transforms import resolve_transform
from ..models.facts import Facts, check_head
from ..models.loading import load_entry
from ..report.own_task import OwnTask
from ..report.style import percent
from ..schema import UPSTREAM, Checkpoint, Numerics, Task
from ..transfer.upstream import score_head

if TYPE_CHECKING:
    from ..datasets import TaskData

Report = Callable[[float, float], None]


@dataclass(frozen=True)
class Verification:
    """What was measured beside what was published; ``present`` of the head's ``classes`` have images."""

    found: OwnTask
    present: int
    classes: int

    @property
    def contradicts(self) -> bool:
        """Whether the published accuracy doesn't hold."""
        return self.found.claim in ("too high", "too low")

    @property
    def verdict(self) -> str:
        """What is to be said, in words."""
        found = self.found
        of = f" of {self.present:,} of {self.classes:,} classes" if self.present < self.classes else ""
        measured = (
            f"{percent(found.top1)} % measured on {found.images:,} images{of},"
            f" 95 % interval [{percent(found.low)}, {percent(found.high)}]"
        )
        if found.claim == "no claim":
            return f"no accuracy is published for it here; {measured}"
        claimed = f"{percent(found.claimed)} %"
        if found.claim == "other images":
            about = f"about {found.published:,} images" if found.published else "about another data set"
            return f"the published {claimed} can be neither confirmed nor refuted: it is {about}; {measured}"
        return f"the published {claimed} {'holds' if found.claim == 'holds' else f'is {found.claim}'}: {measured}"

    def to_json(self) -> dict[str, Any]:
        """Return the values as JSON has them; accuracies are fractions, null where they aren't known."""
        names = ("task", "claimed", "top1", "low", "high", "difference", "top5", "images", "published", "claim")
        values = {name: value for name, value in asdict(self.found).items() if name in names}
        plain = {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in values.items()}
        return plain | {"classes": self.classes, "classes_present": self.present, "verdict": self.verdict}


def verify(
    entry: Checkpoint,
    task: Task,
    data_dir: Path,
    cache_dir: Path | None,
    numerics: Numerics,
    progress: Report | None = None,
) -> Verification:
    """Measure a checkpoint's own head on its own task.

    Parameters
    ----------
    entry : Checkpoint
        The checkpoint; its file is here.
    task : Task
        See :func:`.own_tasks.own_task`.
    data_dir : Path
        Where data sets live, or the task's images.
    cache_dir : Path or None
        The root of the caches.
    numerics : Numerics
        How it is computed.
    progress : callable, optional
        ``progress(images done, images)``.

    Raises
    ------
    InputError
        If the checkpoint or the images can't be used.
    """
    import torch

    torch.set_num_threads(numerics.threads)
    backbone = load_entry(entry, head=True)
    data = open_task(task, data_dir, cache_dir)
    check_head(entry, Facts.of(backbone), task, len(data.classes))
    transform = resolve_transform(backbone.preprocess, task, UPSTREAM)
    classes = len(data.classes)
    scores = score_head(
        backbone, data.test, transform, numerics, classes=classes, cache_dir=cache_dir, progress=progress
    )
    return Verification(_beside_claim(entry, data, scores.top1, scores.top5), len(np.unique(data.test.labels)), classes)


def _beside_claim(entry: Checkpoint, data: TaskData, top1: float, top5: float) -> OwnTask:
    upstream, task = entry.upstream, data.task
    return OwnTask.of(
        checkpoint=entry.id,
        method=entry.method,
        sparsity=entry.sparsity,
        reference=entry.reference or "",
        task=task.id,
        claimed=math.nan if upstream is None or upstream.top1 is None else upstream.top1,
        top1=top1,
        top5=top5,
        images=len(data.test),
        published=task.published_images,
        same_data=upstream is None or upstream.dataset in task.upstream,
    )
