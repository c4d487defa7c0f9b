"""Learning rate and weight decay chosen on the validation split: what full mode with a grid does before its training.

Each point of the grid is trained on train alone, with the run's own seed, and scored on val; the test images are not
looked at. The best score in the task's metric wins; of equal scores the lower loss on val, then the earlier point, of
which the protocol's own values are the first.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..common.progress import Progress, part
from ..datasets.base import Split, TaskData
from ..schema import Numerics, Protocol, RunError, Scores, Trial
from .finetune import finetune
from .probes.choice import scored

if TYPE_CHECKING:
    from ..datasets.images.transforms import Transform
    from ..models.backbone import Backbone
    from .finetune.training_state import TrainingState


_TRIALS = "trials"


def search_grid(
    backbone: Backbone,
    data: TaskData,
    transform: Transform,
    protocol: Protocol,
    seed: int,
    *,
    numerics: Numerics,
    progress: Progress | None = None,
    workers: int | None = 0,
    resume: TrainingState | None = None,
) -> tuple[Trial, ...]:
    """Finetune at every point of the protocol's grid on train, and score each on val, which takes the place of test.

    With ``resume``, a search that was interrupted goes on at the point where it was.
    """
    points = protocol.points()
    inner = replace(data, val=_empty(), test=data.val)
    trials = [] if resume is None else [Trial.model_validate(found) for found in resume.read_json(_TRIALS) or ()]
    for k, point in list(enumerate(points))[len(trials) :]:
        report = None if progress is None else part(progress, k / len(points), (k + 1) / len(points))
        settings = protocol.at(*point, train_on="train")
        tried = Trial(settings={"lr": point[0], "weight_decay": point[1]})
        own = None if resume is None else resume.of(f"point{k}")
        try:
            logits = finetune(
                backbone,
                inner,
                transform,
                settings,
                seed,
                numerics=numerics,
                progress=report,
                workers=workers,
                resume=own,
            ).test_logits
        except RunError:  # it diverged: a point that can't be chosen
            trials.append(tried)
        else:
            trials.append(scored(tried, logits, data.val.labels, len(data.classes)))
        if own is not None:
            own.write_json(_TRIALS, [trial.model_dump(mode="json") for trial in trials])
            own.drop()
    return tuple(trials)


def grid_progress(protocol: Protocol, progress: Progress) -> tuple[Progress, Progress]:
    """Return the progress of a search, and of the training after it: each point is as long as that, about."""
    share = 1 - 1 / (len(protocol.points()) + 1)
    return part(progress, 0.0, share), part(progress, share, 1.0)


def with_choice(scores: Scores, chosen: Trial | None, n_val: int) -> Scores:
    """Return the scores with what was chosen, and what the choice scored on val before val was trained on."""
    if chosen is None:
        return scores
    update = {
        "val_top1": chosen.val_top1,
        "val_mean_per_class": chosen.val_mean_per_class,
        "n_val": n_val,
        "chosen": chosen.settings,
    }
    return scores.model_copy(update=update)


def _empty() -> Split:
    def load(i: int) -> object:
        raise IndexError(i)

    return Split((), np.zeros(0, dtype=np.int64), (), load)  # type: ignore[arg-type]
