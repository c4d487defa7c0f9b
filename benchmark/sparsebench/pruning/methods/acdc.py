"""AC/DC: alternating compressed and decompressed training (Peste et al., 2021, algorithm 1)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from ...schema import RunError
from ..base import PruningMethod
from ..schedules import Phases
from ..settings import MethodSettings
from ..training import PRUNED_THROUGHOUT, Published, Training

if TYPE_CHECKING:
    from torch import Tensor

    from ..state import Result, TrainState


class ACDCSettings(MethodSettings):
    """AC/DC's phases, as fractions of the training."""

    first_sparse: float = Field(Phases.first_sparse, ge=0, le=0.99, description="when the first sparse phase begins")
    phase: float = Field(Phases.length, ge=0.001, le=1, description="how long a phase is")
    last_dense: float = Field(Phases.last_dense, ge=0, le=0.99, description="when the last dense phase begins")
    last_sparse: float = Field(Phases.last_sparse, ge=0.01, le=0.99, description="when the last sparse phase begins")

    rising: ClassVar[tuple[str, ...]] = ("first_sparse", "last_dense", "last_sparse")


class ACDC(PruningMethod):
    """Co-train a sparse and a dense network by alternating sparse and dense phases, from scratch.

    At the start of a sparse phase the weights are projected onto the largest magnitudes and the mask is held through
    the phase; at the start of a dense phase the mask is lifted: pruned weights start again from zero, and the
    optimizer's momentum is cleared. The network at the end of the last dense phase is the *dense twin* of the final
    sparse one. The settings are fractions of the training, see :class:`~sparsebench.pruning.schedules.Phases`.
    """

    name = "acdc"
    title = "AC/DC"
    summary = "alternating compressed/decompressed training (Peste et al., 2021)"
    spellings = ("AC-DC",)
    colour, marker, place = "#cc6677", "o", 3
    dense_network = "its dense twin: the network at the end of the last dense phase"
    published = Published(
        Training(
            lr=0.256,
            epochs=100,
            batch_size=256,
            momentum=0.875,
            nesterov=False,
            weight_decay=3.0518e-5,
            dense=PRUNED_THROUGHOUT,
        ),
        source="Peste et al., 2021",
    )
    settings_model = ACDCSettings
    settings: ACDCSettings

    twin: dict[str, Tensor] | None = None

    def boundaries(self, total_steps: int) -> list[tuple[int, bool]]:
        """Return ``(first step, sparse?)`` of each phase."""
        chosen = self.settings
        phases = Phases(chosen.first_sparse, chosen.phase, chosen.last_dense, chosen.last_sparse)
        return phases.boundaries(total_steps)

    def before_step(self, state: TrainState) -> None:
        """Change phase at a boundary."""
        boundaries = self.boundaries(state.total_steps)
        change = dict(boundaries).get(state.step)
        if change is None or state.step == 0:
            return
        if change:
            if state.step == boundaries[-1][0]:
                self.twin = state.snapshot()
            self.prune_by_magnitude(state, self.sparsity)
        else:
            state.set_masks({})
            state.clear_momentum()

    def results(self, state: TrainState) -> Iterator[Result]:
        """Yield the sparse network and its dense twin."""
        from ..state import Result

        yield from super().results(state)
        if self.twin is None:
            raise RunError(
                f"{state.total_steps} steps are too few for the phases of {self.name}",
                "give more --epochs, or a smaller --batch-size",
            )
        yield Result(0.0, self.twin, {})

    def state_dict(self) -> dict[str, Any]:
        """Return the dense twin once it exists."""
        return {} if self.twin is None else {"twin": self.twin}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take the dense twin back."""
        twin = state.get("twin")
        self.twin = None if twin is None else dict(twin)
