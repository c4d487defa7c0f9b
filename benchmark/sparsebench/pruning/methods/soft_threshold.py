"""STR: soft threshold reparameterization (Kusupati et al., 2020): the thresholds of pruning are learned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from ...schema import RunError
from ..base import PruningMethod
from ..schedules import cubic_sparsity
from ..settings import MethodSettings
from ..training import Published, Training

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..state import Result, TrainState
    from ..thresholds import SoftThreshold


class STRSettings(MethodSettings):
    """STR's thresholds; ``start`` and ``end`` are fractions of the training."""

    schedule: Literal["cubic", "none"] = Field("cubic", description="whether a schedule sets the sparsity in all")
    initial_s: float = Field(-10.0, le=0, description="the thresholds are sigmoid(s); s at the start")
    start: float = Field(0.05, ge=0, le=1, description="when the schedule begins")
    end: float = Field(0.5, ge=0, le=1, description="when the schedule has reached the target")
    every: int = Field(20, ge=1, description="steps from one shift of the thresholds to the next")

    rising: ClassVar[tuple[str, ...]] = ("start", "end")


class STR(PruningMethod):
    """Train with one learned threshold a layer; weights below it are zero, the others shrink by it.

    With ``schedule=none``, as published, there is no target: the sparsity that comes out depends on ``initial_s``, the
    weight decay and the length of the training, which are searched for by hand; ``--sparsity`` then only names the
    checkpoint, which says what came out. With ``schedule=cubic`` the thresholds learn how sparsity is spread over the
    layers, by gradient and weight decay as published, and a schedule sets its total: every ``every`` steps one number
    ``c`` is added to all ``s``, chosen so that the whole network's sparsity is the cubic schedule's, which rises from
    0 to the target between the fractions ``start`` and ``end`` of the training. A weight is pruned where
    ``logit |w| - s <= c``, so ``c`` is an order statistic, and the target is met exactly. The stored weights are the
    effective ones.
    """

    name = "str"
    title = "STR"
    summary = "soft threshold reparameterisation (Kusupati et al., 2020)"
    colour, marker, place = "#88ccee", "D", 5
    distributions = ("learned",)
    published = Published(
        Training(
            lr=0.256,
            epochs=100,
            batch_size=256,
            momentum=0.875,
            nesterov=False,
            weight_decay=2.2518e-5,
            label_smoothing=0.1,
            dense={"": ()},
        ),
        {"schedule": "none", "initial_s": -3200.0},
        source="Kusupati et al., 2020, for ResNet-50 at 90.23 %",
    )
    settings_model = STRSettings
    settings: STRSettings

    def prepare(self, model: nn.Module, weights: Mapping[str, Tensor]) -> None:
        """Give each prunable layer its threshold."""
        from torch.nn.utils import parametrize

        from ..thresholds import SoftThreshold

        self._layers: dict[str, tuple[Tensor, SoftThreshold]] = {}
        for name, weight in weights.items():
            layer, threshold = model.get_submodule(name.removesuffix(".weight")), SoftThreshold(self.settings.initial_s)
            parametrize.register_parametrization(layer, "weight", threshold.to(weight.device))
            self._layers[name] = (weight, threshold)

    def scheduled(self, step: int, total_steps: int) -> float:
        """Return the sparsity that the schedule wants at a step."""
        return cubic_sparsity(step / total_steps, 0.0, self.sparsity, self.settings.start, self.settings.end)

    def before_step(self, state: TrainState) -> None:
        """Move the thresholds to the scheduled sparsity."""
        chosen = self.settings
        if chosen.schedule == "none":
            return
        if state.step % chosen.every == 0 and state.step / state.total_steps >= chosen.start:
            self.move_thresholds(self.scheduled(state.step, state.total_steps))

    def move_thresholds(self, sparsity: float) -> None:
        """Add one number to all ``s`` so that the given fraction of the weights is at or below its threshold."""
        import torch

        from ..distributions import kept_count
        from ..thresholds import logit

        distance = torch.cat([(logit(w.detach().abs()) - s.s.detach()).flatten() for w, s in self._layers.values()])
        pruned = distance.numel() - kept_count(distance.numel(), sparsity)
        if pruned == 0:
            return
        shift = torch.kthvalue(distance, pruned).values
        if shift.isfinite():
            for _, layer in self._layers.values():
                layer.s.data.add_(shift)

    def current_sparsity(self, state: TrainState) -> float:
        """Return the fraction of effective weights that are zero."""
        zeros = sum(int((layer(w) == 0).sum()) for w, layer in self._layers.values())
        return zeros / sum(w.numel() for w, _ in self._layers.values())

    def masks(self, scores: Mapping[str, Tensor], sparsity: float) -> dict[str, Tensor]:
        """Return the masks that keep the largest scores over all layers."""
        from ..distributions import global_masks

        return global_masks(scores, sparsity)

    def results(self, state: TrainState) -> Iterator[Result]:
        """Yield the network of the effective weights: exactly at the target, or without one as it came out.

        Raises
        ------
        RunError
            If there is no target and nothing was pruned.
        """
        from torch.nn.utils import parametrize

        from ..state import Result

        exact = self.settings.schedule != "none"
        if exact:
            self.move_thresholds(self.sparsity)
        elif self.current_sparsity(state) == 0.0:
            raise RunError(
                f"{self.name} pruned nothing in {state.total_steps} steps",
                "without a schedule weight decay must raise s: give more --epochs or a larger --weight-decay",
            )
        for name in self._layers:
            parametrize.remove_parametrizations(state.model.get_submodule(name.removesuffix(".weight")), "weight")
        parameters = dict(state.model.named_parameters())
        magnitudes = {name: parameters[name].detach().abs() for name in self._layers}
        masks = self.masks(magnitudes, self.sparsity) if exact else {name: m > 0 for name, m in magnitudes.items()}
        state.set_masks(masks)
        yield Result(self.sparsity, state.snapshot(), masks, exact=exact)
