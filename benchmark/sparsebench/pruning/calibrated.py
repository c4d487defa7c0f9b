"""One-shot pruning by calibration: layer after layer, from the inputs that images give to each."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from .base import PruningMethod
from .settings import MethodSettings
from .training import Training

if TYPE_CHECKING:
    from torch import Tensor

    from .layerwise import Layer
    from .state import Result, TrainState
    from .walk import Walk


class CalibrationSettings(MethodSettings):
    """What the methods that calibrate share."""

    images: int = Field(256, ge=1, description="calibration images")
    batch: int = Field(32, ge=2, description="images at a time, over which batch norm averages")


class Calibrated(PruningMethod):
    """Prune trained dense weights at once, one layer after the other in the order of execution.

    Each layer sees the inputs that the layers before it, already pruned, give it (sequential calibration), with batch
    norm by the batch, which is close to the statistics that are estimated anew in the end. How many
    weights a layer keeps is set by the distribution: ``uniform``, ``erk``, N:M, or ``global``, which takes each layer's
    share from one ranking of magnitudes. In the end batch-norm statistics are estimated anew.
    """

    start = "dense"
    serves = "several"
    training = Training(epochs=0)
    distributions = ("uniform", "global", "erk", "nm")
    settings_model: ClassVar[type[MethodSettings]] = CalibrationSettings
    settings: CalibrationSettings

    @abstractmethod
    def collect(self, inputs: Tensor) -> Tensor:
        """Return what a layer's inputs ``(groups, samples, columns)`` add to its statistics."""

    @abstractmethod
    def pruned(self, weight: Tensor, statistics: Tensor, kept: int) -> tuple[Tensor, Tensor]:
        """Return new weights and their mask.

        Parameters
        ----------
        weight : Tensor
            ``(groups, outputs, columns)``, float32.
        statistics : Tensor
            The mean of what :meth:`collect` returned for a sample.
        kept : int
            How many weights stay.
        """

    def results(self, state: TrainState) -> Iterator[Result]:
        """Prune the trained weights to each sparsity in turn."""
        from .batch_norm import retune
        from .state import Result

        dense = state.snapshot()
        for sparsity in self.sparsities:
            state.set_masks({})
            state.model.load_state_dict(dense)
            state.set_masks(self.prune_layers(state, sparsity))
            retune(state)
            yield Result(sparsity, state.snapshot(), state.masks)

    def prune_layers(self, state: TrainState, sparsity: float) -> dict[str, Tensor]:
        """Prune every layer to its share of a sparsity, in place, and return the masks."""
        import torch

        from . import layerwise
        from .batch_norm import batch_statistics
        from .walk import Walk

        model = state.model.eval()
        count = -(-self.settings.images // self.settings.batch)
        batches = [images for images, _ in state.sample(count, self.settings.batch)]
        counts = layerwise.layer_counts(state.weights, sparsity, self.distribution, self.nm)
        names = [name.removesuffix(".weight") for name in state.weights]
        layers = {name: layerwise.plain_layer(model, name) for name in names}
        masks: dict[str, Tensor] = {}
        # the dense network's statistics don't fit what pruned layers give: inputs by them would not be the final ones
        with batch_statistics(model):
            walk = Walk(model, batches)
            for name in walk.order(names):
                layer, key = layers[name], f"{name}.weight"
                statistics = self._statistics(walk, name, layer)
                weight, mask = self.pruned(layerwise.matrix(layer).float().clone(), statistics, counts[key])
                masks[key] = layerwise.unmatrix(layer, mask)
                with torch.no_grad():
                    state.weights[key].copy_(layerwise.unmatrix(layer, weight))
        return masks

    def _statistics(self, walk: Walk, name: str, layer: Layer) -> Tensor:
        """Return the mean of what :meth:`collect` returns, over a layer's inputs."""
        from .layerwise import columns

        found: list[tuple[Tensor, int]] = []

        def add(images: Tensor) -> None:
            inputs = columns(layer, images)
            before, count = found.pop() if found else (0.0, 0)
            found.append((before + self.collect(inputs), count + inputs.shape[1]))

        walk.visit(name, add)
        ((total, samples),) = found
        return total / samples
