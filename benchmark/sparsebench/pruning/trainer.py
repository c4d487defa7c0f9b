"""Train a backbone upstream while a method prunes it: the one loop behind ``sparsebench prune``."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..engines.context import find_device
from ..models.masks import prove, prunable
from ..schema import InputError, RunError, UnknownNameError
from .base import PruningMethod
from .relabel import RELABEL_COLUMNS
from .schedules import Drops, LearningRate
from .settings import Value
from .small_maps import use_matrix_products
from .state import Result, TrainState
from .training import DECAYS, Decay
from .upstream import Batches, Images, Normalise, UpstreamData

LOG_COLUMNS = ("epoch", "step", "lr", "train_loss", "val_top1", "sparsity", "phase", "seconds")

_FLOAT_MAX = torch.finfo(torch.float32).max

Scope = Literal["prunable", "all_params"]
"""What a target sparsity is a fraction of (see :data:`~sparsebench.schema.SparsityScope`)."""


def check_numbers(lr: float | None, weight_decay: float | None, seed: int | None) -> None:
    """Raise :class:`InputError` for a number that no training can have; None counts as left out."""
    if lr is not None and not 0 < lr <= _FLOAT_MAX:
        raise InputError(f"--lr {lr} is not a learning rate", "give a positive number")
    if weight_decay is not None and not 0 <= weight_decay <= _FLOAT_MAX:
        raise InputError(f"--weight-decay {weight_decay} is not a weight decay", "give a number from 0 on")
    if seed is not None and not 0 <= seed < 2**40:
        raise InputError(f"--seed {seed} is not a seed", "give a whole number from 0 on, below a trillion")


@dataclass(frozen=True)
class Recipe:
    """Every choice of an upstream training; two trainings of the same recipe and data make the same checkpoint.

    ``sparsities`` are fractions of what ``scope`` says: of the prunable weights or of all parameters. The fields from
    ``batch_size`` on are those of :class:`~sparsebench.pruning.training.Training`. ``relabel`` is how many training
    images get random labels (see :mod:`.relabel`); such a training has no augmentation, as published.
    """

    method: str
    sparsities: tuple[float, ...]
    distribution: str
    arch: str
    exempt: tuple[str, ...]
    epochs: int
    nm: tuple[int, int] | None = None
    scope: Scope = "prunable"
    settings: Mapping[str, Value] = field(default_factory=dict)
    batch_size: int = 128
    lr: float = 0.2
    warmup: float = 0.05
    drops: Drops = ()
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    decay_on: Decay = "all"
    label_smoothing: float = 0.0
    shift: int = 4
    seed: int = 0
    init_sha256: str | None = None
    data: str = ""
    relabel: int = 0

    def __post_init__(self) -> None:
        check_numbers(self.lr, self.weight_decay, self.seed)
        if self.batch_size < 1:
            raise InputError(f"--batch-size {self.batch_size} is no batch", "give a whole number from 1 on")
        for option, value in (("momentum", self.momentum), ("label-smoothing", self.label_smoothing)):
            if not 0 <= value < 1:
                raise InputError(f"--{option} {value:g} is not possible", "give a number from 0 up to, but not, 1")
        if not 0 <= self.warmup <= 1:
            raise InputError(f"--warmup {self.warmup:g} is not a fraction", "give a number from 0 to 1")
        if self.decay_on not in DECAYS:
            raise UnknownNameError("kind of weight decay", self.decay_on, DECAYS)
        if self.nesterov and self.momentum == 0:
            object.__setattr__(self, "nesterov", False)


@dataclass(frozen=True)
class Hardware:
    """Where and in what precision a training runs; never part of the recipe."""

    device: str = "cpu"
    precision: Literal["fp32", "bf16"] = "fp32"
    channels_last: bool = True


class Trainer:
    """Trains one model under one method; can be stopped and resumed between epochs.

    Parameters
    ----------
    model : nn.Module
        The network with its upstream head, initialised.
    method : PruningMethod
        What prunes it.
    recipe : Recipe
        Hyperparameters.
    data : UpstreamData
        What to train on.
    normalise : Normalise
        The architecture's mean and standard deviation.
    hardware : Hardware, optional
        Device, precision and memory format.
    """

    def __init__(
        self,
        model: nn.Module,
        method: PruningMethod,
        recipe: Recipe,
        data: UpstreamData,
        normalise: Normalise,
        hardware: Hardware | None = None,
    ) -> None:
        self.hardware = hardware or Hardware()
        self.device = find_device(self.hardware.device)
        self.method, self.recipe, self.data, self.normalise = method, recipe, data, normalise
        layout = torch.channels_last if self.hardware.channels_last else torch.contiguous_format
        self.model = model.to(self.device, memory_format=layout)  # type: ignore[call-overload]
        self.batches = Batches(
            data.train_images,
            data.train_labels,
            normalise,
            batch_size=recipe.batch_size,
            seed=recipe.seed,
            shift=recipe.shift,
            augment=not recipe.relabel,
        )
        if len(self.batches) == 0 and recipe.epochs > 0:
            raise InputError(
                f"{len(data.train_labels)} training images don't fill one batch of {recipe.batch_size}",
                "lower --batch-size or give more data",
            )
        if self.hardware.precision == "bf16":
            use_matrix_products(self.model)
        layers = [name.removesuffix(".weight") for name in prunable(self.model)]
        for name in recipe.exempt:
            if name not in layers:
                raise UnknownNameError("layer", name, layers)
        weights = prunable(self.model, recipe.exempt)
        method.check_layers(weights)
        method.prepare(self.model, weights)
        optimizer = _optimizer(model, recipe)
        total = recipe.epochs * len(self.batches)
        precision = {"fp32": torch.float32, "bf16": torch.bfloat16}[self.hardware.precision]
        self.state = TrainState(self.model, optimizer, weights, total, self._sample, precision=precision)
        self.state.label_smoothing = recipe.label_smoothing
        self.schedule = LearningRate(recipe.lr, recipe.warmup, recipe.drops)
        self.log: list[dict[str, Any]] = []

    @property
    def epoch(self) -> int:
        """How many epochs are done."""
        return len(self.log)

    def run_epoch(self, progress: Callable[[int, int], None] | None = None) -> dict[str, Any]:
        """Train one epoch, evaluate, and return its line of the log (:data:`LOG_COLUMNS`, :data:`.RELABEL_COLUMNS`).

        Raises
        ------
        RunError
            If the loss is no longer a number, naming the step.
        """
        started, epoch, losses, rate = time.perf_counter(), self.epoch, 0.0, 0.0
        with self._generators(epoch):
            self.model.train()
            for index, (images, labels) in enumerate(self.batches.epoch(epoch, self.device)):
                self.method.before_step(self.state)
                rate = self.method.learning_rate(self.state.step, self.state.total_steps, self.schedule)
                for group in self.state.optimizer.param_groups:
                    group["lr"] = rate
                loss = float(self.method.gradients(self.state, images, labels))
                if not math.isfinite(loss):
                    raise self._diverged(f"the loss is {loss}")
                self.method.update(self.state)
                self.state.step += 1
                losses += loss
                if progress is not None:
                    progress(epoch * len(self.batches) + index + 1, self.state.total_steps)
            if not all(bool(value.isfinite().all()) for value in self.model.state_dict().values()):
                raise self._diverged("the weights are no longer finite")
            accuracy, sparsity = self.evaluate(), self.method.current_sparsity(self.state)
            relabelled = self._on_relabelled()
        line: dict[str, Any] = {
            "epoch": epoch,
            "step": self.state.step,
            "lr": rate,
            "train_loss": losses / len(self.batches),
            "val_top1": accuracy,
            "sparsity": sparsity,
            "phase": "sparse" if sparsity > 0 else "dense",
            "seconds": round(time.perf_counter() - started, 2),
            **relabelled,
        }
        self.log.append(line)
        return line

    def results(self) -> Iterator[Result]:
        """Yield the networks that the finished training leaves, their masks proven.

        Raises
        ------
        RunError
            If one isn't as sparse as it should be, because the training was too short for the method's schedule.
        """
        with self._generators(self.recipe.epochs):
            for result in self.method.results(self.state):
                self._check_sparsity(result)
                prove(self.model, result.masks)
                yield result

    def _check_sparsity(self, result: Result) -> None:
        """Raise :class:`RunError` if a result isn't as sparse as it should be, but for a rounding in each layer."""
        if not result.exact:
            return
        total = sum(w.numel() for w in self.state.weights.values())
        reached = sum(int((~mask).sum()) for mask in result.masks.values()) / total
        if abs(reached - result.sparsity) > len(self.state.weights) / total:
            raise RunError(
                f"{self.state.total_steps} steps are too few for {self.method.name} with these settings: it reached"
                f" sparsity {reached:.4f}, not {result.sparsity:g}",
                "give more --epochs, a smaller --batch-size, or a schedule that ends earlier",
            )

    def _sample(self, count: int, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        return self.batches.sample(count, size, int(torch.randint(2**62, ())), self.device)

    def _diverged(self, what: str) -> RunError:
        return RunError(
            f"{what} at step {self.state.step} (epoch {self.epoch + 1} of {self.recipe.epochs})",
            f"try a lower --lr than {self.recipe.lr:g}",
        )

    def evaluate(self, batch: int = 500) -> float:
        """Return top-1 accuracy (a fraction) on the validation images."""
        count = len(self.data.val_labels)
        slices = [slice(start, start + batch) for start in range(0, count, batch)]
        return float((self._predicted(self.data.val_images, slices) == self.data.val_labels).sum()) / count

    def _on_relabelled(self, batch: int = 500) -> dict[str, float]:
        """Return which fractions of the relabelled images are predicted as their random and as their true labels."""
        own = self.data.relabelled
        if own is None:
            return {}
        predicted = self._predicted(self.data.train_images, own.indices.split(batch))
        found = (float((predicted == labels).sum()) / len(predicted) for labels in (own.labels, own.true))
        return dict(zip(RELABEL_COLUMNS, found, strict=True))

    @torch.inference_mode()
    def _predicted(self, images: Images, indices: Iterable[slice | Tensor]) -> Tensor:
        """Return the predicted classes of images as they are."""
        self.model.eval()
        found = (self.model(self.normalise(images[index], self.device)).argmax(1).cpu() for index in indices)
        return torch.cat(list(found))

    def state_dict(self) -> dict[str, Any]:
        """Return everything a resumed training needs: tensors and plain values only."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.state.optimizer.state_dict(),
            "masks": self.state.masks,
            "step": self.state.step,
            "method": self.method.state_dict(),
            "log": self.log,
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave."""
        self.model.load_state_dict(saved["model"])
        self.state.optimizer.load_state_dict(saved["optimizer"])
        self.state.step = saved["step"]
        self.state.set_masks(saved["masks"])
        self.method.load_state_dict(saved["method"])
        self.log = list(saved["log"])

    @contextmanager
    def _generators(self, epoch: int) -> Iterator[None]:
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed((self.recipe.seed << 20) + epoch)
            yield


def _optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.SGD:
    """Return a recipe's optimizer; biases, batch norm and thresholds, of at most one dimension, may have no decay."""
    groups: list[dict[str, Any]] = [{"params": list(model.parameters())}]
    if recipe.decay_on == "weights":
        parameters = list(model.parameters())
        groups = [
            {"params": [p for p in parameters if p.ndim > 1]},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
    return torch.optim.SGD(
        [group for group in groups if group["params"]],
        recipe.lr,
        recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=recipe.nesterov,
        foreach=True,
    )
