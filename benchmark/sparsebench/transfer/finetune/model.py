"""What is finetuned: a copy of a backbone under a new, dense head, with the optimizer that holds its mask."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ... import extensions
from ...engines.context import device_of
from ...models import masks as masking
from ...schema import Numerics, Protocol, RunError
from ..probes.base import default_linear

if TYPE_CHECKING:
    from ...models.backbone import Backbone


class Classifier(nn.Module):
    """A backbone's features under a linear head.

    Parameters
    ----------
    backbone : Backbone
        Its module is copied, so that seeds can share it.
    num_classes : int
        Classes of the task.
    seed : int
        Of the head's initial weights.
    """

    def __init__(self, backbone: Backbone, num_classes: int, seed: int) -> None:
        super().__init__()
        self.features = copy.deepcopy(backbone.module).requires_grad_(True)
        self.head = nn.Linear(backbone.info.feature_dim, num_classes)
        weight, bias = default_linear(num_classes, backbone.info.feature_dim, seed)
        with torch.no_grad():
            self.head.weight.copy_(weight)
            self.head.bias.copy_(bias)

    def trained(self) -> list[nn.Parameter]:
        """Return what the optimizer trains."""
        own: Callable[[], Iterable[nn.Parameter]] = getattr(
            self.features, "trained_parameters", self.features.parameters
        )
        return [*own(), *self.head.parameters()]

    def write(self) -> None:
        """Bring the backbone's own parameters up to what was trained, where an engine trains others."""
        own: Callable[[], None] | None = getattr(self.features, "write", None)
        if own is not None:
            own()

    def forward(self, batch: Tensor) -> Tensor:
        """Map a normalised batch (B, 3, H, W) to logits (B, C)."""
        logits: Tensor = self.head(self.features(batch))
        return logits

    def named_state(self, head_name: str) -> dict[str, Tensor]:
        """Return the weights on the CPU under the backbone's own names, the head's under ``head_name``.

        Adding zero turns the -0.0 that a mask leaves into 0.0, so that equal weights have equal bytes.
        """
        state = dict(self.features.state_dict())
        state |= {f"{head_name}.{name}": value for name, value in self.head.state_dict().items()}
        return {name: _portable(value) for name, value in state.items()}

    def load_named(self, state: Mapping[str, Tensor], head_name: str) -> None:
        """Take the weights of :meth:`named_state`, or raise RuntimeError or KeyError where they don't fit."""
        head = {name: state[f"{head_name}.{name}"] for name in ("weight", "bias")}
        rest = {name: value for name, value in state.items() if not name.startswith(f"{head_name}.")}
        self.features.load_state_dict(rest)
        self.head.load_state_dict(head)


def make_classifier(backbone: Backbone, num_classes: int, seed: int, numerics: Numerics) -> Classifier:
    """Return a classifier on its device, its masked weights zero, ready for the engine that trains it.

    Raises
    ------
    InputError
        If the engine can't train the backbone.
    """
    model = Classifier(backbone, num_classes, seed)
    masking.apply(model.features, backbone.masks)
    engine: extensions.Engine = extensions.get("engines", numerics.engine)
    if engine.train is not None:
        model.features = extensions.load(engine.train)(model.features, backbone.masks, numerics)
        return model
    layout = torch.channels_last if numerics.channels_last else torch.contiguous_format
    return model.to(device_of(numerics)).to(memory_format=layout)


def _portable(value: Tensor) -> Tensor:
    value = value.detach().to("cpu", memory_format=torch.contiguous_format, copy=True)
    return value + 0.0 if value.is_floating_point() else value


def make_optimizer(model: Classifier, protocol: Protocol) -> torch.optim.SGD:
    """Return SGD over every parameter, weight decay on all, as published."""
    return torch.optim.SGD(
        model.trained(),
        lr=protocol.lr,
        momentum=protocol.momentum,
        weight_decay=protocol.weight_decay,
        nesterov=protocol.nesterov,
        foreach=True,
    )


def require_finite(losses: list[Tensor], epoch: int, first_step: int, protocol: Protocol) -> list[float]:
    """Return losses as numbers.

    Raises
    ------
    RunError
        If one isn't finite, naming the epoch and the step (both from 0) of the first such one.
    """
    if not losses:
        return []
    values = torch.stack(losses)
    bad = torch.nonzero(~torch.isfinite(values))
    if len(bad):
        step = first_step + int(bad[0])
        raise RunError(
            f"the training loss is {float(values[int(bad[0])])} at epoch {epoch}, step {step} "
            f"(learning rate {protocol.lr_at(epoch):g})",
            "try a lower learning rate",
        )
    return [float(value) for value in values.tolist()]
