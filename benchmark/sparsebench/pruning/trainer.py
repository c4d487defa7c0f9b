"""Train a backbone upstream while a method prunes it: the one loop behind ``sparsebench prune``."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..masks import prove, prunable
from ..schema import InputError, RunError
from .base import PruningMethod, TrainState
from .schedules import warmup_cosine
from .upstream import Batches, Normalise, UpstreamData

LOG_COLUMNS = ("epoch", "step", "lr", "train_loss", "val_top1", "sparsity", "phase", "seconds")


@dataclass(frozen=True)
class Recipe:
    """Every choice of an upstream training; two trainings of the same recipe and data make the same checkpoint."""

    method: str
    sparsity: float
    distribution: str
    arch: str
    exempt: tuple[str, ...]
    epochs: int
    batch_size: int = 128
    lr: float = 0.2
    warmup: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-4
    shift: int = 4
    seed: int = 0
    init_sha256: str | None = None
    data: str = ""

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise InputError(f"--epochs {self.epochs} is not a training", "train for at least one epoch")
        if self.lr <= 0 or not math.isfinite(self.lr):
            raise InputError(f"--lr {self.lr} is not a learning rate", "give a positive number")


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
        self.device = torch.device(self.hardware.device)
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
        )
        if len(self.batches) == 0:
            raise InputError(
                f"{len(data.train_labels)} training images don't fill one batch of {recipe.batch_size}",
                "lower --batch-size or give more data",
            )
        optimizer = torch.optim.SGD(
            model.parameters(),
            recipe.lr,
            recipe.momentum,
            weight_decay=recipe.weight_decay,
            nesterov=recipe.momentum > 0,
            foreach=True,
        )
        total = recipe.epochs * len(self.batches)
        precision = {"fp32": torch.float32, "bf16": torch.bfloat16}[self.hardware.precision]
        weights = prunable(self.model, recipe.exempt)
        self.state = TrainState(self.model, optimizer, weights, total, precision=precision)
        self.log: list[dict[str, Any]] = []

    @property
    def epoch(self) -> int:
        """How many epochs are done."""
        return len(self.log)

    def run_epoch(self, progress: Callable[[int, int], None] | None = None) -> dict[str, Any]:
        """Train one epoch, evaluate, and return its line of the log (see :data:`LOG_COLUMNS`).

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
                rate = warmup_cosine(self.state.step, self.state.total_steps, self.recipe.lr, self.recipe.warmup)
                for group in self.state.optimizer.param_groups:
                    group["lr"] = rate
                loss = float(self.method.gradients(self.state, images, labels))
                if not math.isfinite(loss):
                    raise RunError(
                        f"the loss is {loss} at step {self.state.step} (epoch {epoch})",
                        f"try a lower --lr than {self.recipe.lr:g}; the state after epoch {epoch} is kept",
                    )
                self.method.update(self.state)
                self.state.step += 1
                losses += loss
                if progress is not None:
                    progress(epoch * len(self.batches) + index + 1, self.state.total_steps)
            accuracy = self.evaluate()
        line = {
            "epoch": epoch,
            "step": self.state.step,
            "lr": rate,
            "train_loss": losses / len(self.batches),
            "val_top1": accuracy,
            "sparsity": self.state.sparsity(),
            "phase": "sparse" if self.state.masks else "dense",
            "seconds": round(time.perf_counter() - started, 2),
        }
        self.log.append(line)
        return line

    def finish(self) -> None:
        """Let the method finish and prove the masks in force."""
        self.method.before_saving(self.state)
        prove(self.model, self.state.masks)

    def evaluate(self, batch: int = 500) -> float:
        """Return top-1 accuracy (a fraction) on the validation images."""
        return evaluate(self.model, self.data, self.normalise, self.device, batch)

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


def evaluate(
    model: nn.Module, data: UpstreamData, normalise: Normalise, device: torch.device, batch: int = 500
) -> float:
    """Return a model's top-1 accuracy (a fraction) on the validation images of ``data``."""
    model.eval()
    correct = 0
    with torch.inference_mode():
        for start in range(0, len(data.val_labels), batch):
            logits: Tensor = model(normalise(data.val_images[start : start + batch], device))
            correct += int((logits.argmax(1).cpu() == data.val_labels[start : start + batch]).sum())
    return correct / len(data.val_labels)
