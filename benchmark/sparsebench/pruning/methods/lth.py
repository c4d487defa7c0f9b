"""LTH-T: lottery tickets for transfer, by iterative magnitude pruning that rewinds to the pretrained weights."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ...schema import RunError
from ..base import PruningMethod
from ..settings import MethodSettings, Value
from ..training import Published, Training

if TYPE_CHECKING:
    from torch import Tensor

    from ..schedules import LearningRate
    from ..state import Result, TrainState


class LTHSettings(MethodSettings):
    """Lottery tickets' settings."""

    fraction: float = Field(0.2, ge=0.01, le=0.99, description="share of the weights left that a round prunes")


class LTH(PruningMethod):
    """Find a sparse subnetwork of the pretrained weights (Frankle & Carbin, 2019; Chen et al., 2021, for transfer).

    Each round trains from the pretrained weights under the masks so far, prunes the smallest fifth of the weights that
    are left, and rewinds what remains, batch norm and head included, to the pretrained values. The fraction is
    adjusted a little so that whole rounds end exactly at the sparsities asked for (seven rounds to 80 %, three more to
    90 %, three more to 95 %). A ticket is the pretrained weights under a mask: it has not been trained since, so its
    upstream accuracy is low, and its batch-norm statistics are the dense network's, as published.
    """

    name = "lth"
    title = "LTH-T"
    summary = "lottery tickets for transfer: iterative magnitude pruning (Chen et al., 2021)"
    spellings = ("LTH",)
    colour, marker, place = "#ddaa33", "P", 6
    start = "dense"
    serves = "several"
    training = Training(lr=0.02, epochs=1)
    published = Published(
        Training(
            lr=1e-4, epochs=10, batch_size=256, nesterov=False, weight_decay=1e-4, warmup=0.0, drops=((0.0, 1.0),)
        ),
        source="Chen et al., 2021, for supervised pretraining",
    )
    distributions = ("global", "uniform", "erk")
    settings_model = LTHSettings
    settings: LTHSettings

    def __init__(
        self,
        sparsity: float,
        distribution: str | None = None,
        nm: tuple[int, int] | None = None,
        also: tuple[float, ...] = (),
        **settings: Value,
    ) -> None:
        super().__init__(sparsity, distribution, nm, also, **settings)
        self.rounds = self._rounds()
        self.pretrained: dict[str, Tensor] = {}
        self.tickets: dict[int, dict[str, Tensor]] = {}

    def _rounds(self) -> list[float]:
        """Return the sparsity after each round; every sparsity asked for is among them."""
        rounds: list[float] = []
        density = 1.0
        for sparsity in self.sparsities:
            count = max(1, round(math.log((1 - sparsity) / density) / math.log(1 - self.settings.fraction)))
            ratio = ((1 - sparsity) / density) ** (1 / count)
            rounds += [1 - density * ratio**k for k in range(1, count)] + [sparsity]
            density = 1 - sparsity
        return rounds

    def default_epochs(self, training: Training) -> int:
        """Return the epochs of all rounds."""
        return training.epochs * len(self.rounds)

    def round_starts(self, total_steps: int) -> list[int]:
        """Return the first step of each round, and the end of the last."""
        return [round(total_steps * k / len(self.rounds)) for k in range(len(self.rounds) + 1)]

    def learning_rate(self, step: int, total: int, schedule: LearningRate) -> float:
        """Return the rate of the whole training's schedule, played once in each round."""
        starts = self.round_starts(total)
        now = max(k for k, start in enumerate(starts) if start <= step)
        return schedule.at(step - starts[now], starts[now + 1] - starts[now])

    def before_step(self, state: TrainState) -> None:
        """Remember the pretrained weights; between rounds prune and rewind."""
        if state.total_steps < len(self.rounds):
            raise RunError(
                f"{state.total_steps} steps are too few for the {len(self.rounds)} rounds of {self.name}",
                "give more --epochs, or a smaller --batch-size",
            )
        if state.step == 0:
            self.pretrained = state.snapshot()
            return
        starts = self.round_starts(state.total_steps)
        if state.step in starts:
            self.end_round(state, starts.index(state.step) - 1)

    def end_round(self, state: TrainState, index: int) -> None:
        """Prune to the sparsity of a 0-based round, and rewind what is left."""
        magnitudes = state.magnitudes()
        for name, mask in state.masks.items():
            magnitudes[name].masked_fill_(~mask.to(magnitudes[name].device), -1.0)
        masks = self.masks(magnitudes, self.rounds[index])
        self.tickets[index] = masks
        state.model.load_state_dict(self.pretrained)
        state.set_masks(masks)
        state.clear_momentum()

    def results(self, state: TrainState) -> Iterator[Result]:
        """Yield the ticket of each sparsity."""
        from ..state import Result

        self.end_round(state, len(self.rounds) - 1)
        for sparsity in self.sparsities:
            state.model.load_state_dict(self.pretrained)
            state.set_masks(self.tickets[self.rounds.index(sparsity)])
            yield Result(sparsity, state.snapshot(), state.masks)

    def state_dict(self) -> dict[str, Any]:
        """Return the pretrained weights and the tickets so far."""
        return {"pretrained": self.pretrained, "tickets": self.tickets}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        self.pretrained = dict(state["pretrained"])
        self.tickets = {int(index): dict(masks) for index, masks in state["tickets"].items()}
