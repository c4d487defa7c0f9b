"""Gradual magnitude pruning (Zhu & Gupta, 2017), from trained dense weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from ..base import PruningMethod
from ..schedules import cubic_sparsity
from ..settings import MethodSettings
from ..training import PRUNED_THROUGHOUT, Published, Training

if TYPE_CHECKING:
    from ..state import TrainState


class GMPSettings(MethodSettings):
    """Gradual magnitude pruning's schedule; ``start`` and ``end`` are fractions of the training."""

    initial: float = Field(0.05, ge=0, le=0.99, description="the first sparsity")
    start: float = Field(0.0, ge=0, le=1, description="when the first weights are pruned")
    end: float = Field(0.6, ge=0, le=1, description="when the last weights are pruned")
    prunings: int = Field(24, ge=1, description="steps in between, evenly spaced")

    rising: ClassVar[tuple[str, ...]] = ("start", "end")


PUBLISHED_SCHEDULE = {"start": 0.01, "end": 0.36, "prunings": 7}
"""Prunings at epochs 1, 6, ..., 36 of 100."""

PUBLISHED_TRAINING = Training(
    lr=0.005,
    epochs=100,
    batch_size=256,
    nesterov=False,
    weight_decay=1e-4,
    warmup=0.0,
    drops=tuple((round(0.40 + 0.06 * k, 2), 0.6 ** (k + 1)) for k in range(9)),
    dense=PRUNED_THROUGHOUT,
)
"""The rate is multiplied by 0.6 at epochs 40, 46, ..., 88 of 100."""


class GMP(PruningMethod):
    """Prune the smallest weights to a cubically rising sparsity, finetuning all along.

    The sparsity rises from ``initial`` to the target between ``start`` and ``end`` (fractions of the
    training), at ``prunings`` evenly spaced steps; the rest of the training finetunes under the last masks. A
    weight once pruned stays so: its magnitude is zero, the smallest there is.
    """

    name = "gmp"
    title = "GMP"
    summary = "gradual magnitude pruning from dense weights (Zhu & Gupta, 2017)"
    colour, marker, place = "#332288", "s", 2
    start = "dense"
    training = Training(lr=0.05, epochs=10)
    published = Published(PUBLISHED_TRAINING, PUBLISHED_SCHEDULE, source="AC/DC's code (Peste et al., 2021)")
    settings_model: ClassVar[type[MethodSettings]] = GMPSettings
    settings: GMPSettings

    def pruning_steps(self, total_steps: int) -> dict[int, float]:
        """Return the steps at which the masks change, with the sparsity from each one on."""
        chosen = self.settings
        steps: dict[int, float] = {}
        for k in range(chosen.prunings + 1):
            progress = chosen.start + (chosen.end - chosen.start) * k / chosen.prunings
            steps[round(progress * total_steps)] = cubic_sparsity(
                progress if k < chosen.prunings else 1.0,
                min(chosen.initial, self.sparsity),
                self.sparsity,
                chosen.start,
                chosen.end,
            )
        return steps

    def before_step(self, state: TrainState) -> None:
        """Prune further when the schedule says so."""
        target = self.pruning_steps(state.total_steps).get(state.step)
        if target is not None:
            self.prune_by_magnitude(state, target)
