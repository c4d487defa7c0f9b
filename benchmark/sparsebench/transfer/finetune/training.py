"""Finetune a backbone on a task, mask fixed, and score it on test: one seed of one cell of the benchmark."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from ...common import interruption
from ...common.progress import Progress, Throttle
from ...common.timings import stage, waiting
from ...datasets.base import Split, TaskData
from ...datasets.images.batches import EpochBatches
from ...engines.context import autocast, device_of, repeatable
from ...models import masks as masking
from ...models import sparsity
from ...schema import Numerics, Parallel, Protocol, RunError
from .batches import to_device, to_network
from .cell import Cell, EpochReport, FinetuneResult, Observe, Watch
from .evaluation import Evaluator
from .model import make_classifier, make_optimizer, require_finite
from .parallel import Network, Peers, SharedNetwork, Team, find_team, require_equal
from .randomness import own_randomness
from .shares import Part, Step, steps_of
from .training_state import Position, Training, TrainingState

if TYPE_CHECKING:
    from ...datasets.images.transforms import Transform
    from ...models.backbone import Backbone

_CHECK_EVERY = 32  # steps between two looks at the loss: looking makes a GPU's host wait


def finetune(
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
    observe: Observe | None = None,
) -> FinetuneResult:
    """Train all of a backbone and a new head, with the backbone's masked weights held at zero.

    SGD over every parameter by the protocol; batch normalisation in train mode; weights and momentum are masked after
    each step, and at the end the mask is proved. The head is dense. A last batch of one image is joined to the one
    before it. With equal arguments and threads the result is equal bit for bit, whatever ``workers`` and whatever ran
    before; the backbone passed in and torch's global generators are left as they were.

    Parameters
    ----------
    backbone : Backbone
        Module, masks and description; copied, so that seeds can share it.
    data : TaskData
        The task's splits. The test split is scored once, after the last epoch, unless the protocol says each epoch.
    transform : Transform
        Augmentation, evaluation and normalisation.
    protocol : Protocol
        Every hyperparameter.
    seed : int
        Of the head, the order, the augmentation, and layers that draw random numbers.
    numerics : Numerics
        Device, precision (mixed for bf16 and fp16), memory format, compilation.
    progress : callable, optional
        ``progress(images seen, images to see)``.
    workers : int or None
        Threads that decode; they change the speed, never the numbers. None: one where images are files.
    resume : TrainingState, optional
        Where the training writes down how far it is, from time to time and when it is asked to stop, and from where it
        goes on if there is a state of it: to the same numbers, bit for bit, on the same hardware.
    observe : callable, optional
        Called with what each epoch gave.

    Raises
    ------
    RunError
        If the loss or a logit isn't finite.
    Stopped, Interrupted
        If a stop was asked for (see :mod:`sparsebench.common.interruption`); the state is then on disk.
    MaskError
        If a masked weight isn't zero at the end, or the sparsity reported isn't the one held.

    Notes
    -----
    Where the numerics say several processes and this is one of them (of torch's default group), it computes its share
    of each step. Alone it doesn't train, but scores what they have left in ``resume``.
    """
    with _running(Cell(backbone, data, transform, protocol, seed, numerics), progress, workers, resume, observe) as run:
        run.train()
        return run.result()


def train_together(
    backbone: Backbone,
    data: TaskData,
    transform: Transform,
    protocol: Protocol,
    seed: int,
    *,
    numerics: Numerics,
    resume: TrainingState,
    progress: Progress | None = None,
    workers: int | None = 0,
    observe: Observe | None = None,
) -> dict[str, int]:
    """Train as one of several processes, and leave the result in ``resume``, where :func:`finetune` finds it.

    Parameters are those of :func:`finetune`.

    Returns
    -------
    dict of str to int
        Bytes that all processes have sent, by kind.
    """
    with _running(Cell(backbone, data, transform, protocol, seed, numerics), progress, workers, resume, observe) as run:
        run.train()
        run.leave()
        return dict(run.team.sent)


@contextmanager
def _running(
    cell: Cell,
    progress: Progress | None,
    workers: int | None,
    resume: TrainingState | None,
    observe: Observe | None,
) -> Iterator[_Run]:
    device = device_of(cell.numerics)
    how = cell.protocol.parallel
    team = find_team(cell.numerics.processes, 2 if how is not None and how.batch_norm == "local" else 1)
    with own_randomness(cell.seed, device, team.crew.rank), repeatable(device), interruption.deferred():
        yield _Run(cell, device, team, progress, workers, Watch(resume, observe))


@dataclass(frozen=True)
class _Batch:
    """What a process computes of a step: uint8 images, int64 labels, and the step's parts."""

    images: Tensor
    labels: Tensor
    step: Step


class _Run:
    """One finetuning in progress: model, optimizer, mask, loader."""

    def __init__(
        self,
        cell: Cell,
        device: torch.device,
        team: Team,
        progress: Progress | None,
        workers: int | None,
        watch: Watch,
    ) -> None:
        self._cell, self._device, self.team, self._watch = cell, device, team, watch
        backbone, numerics, protocol = cell.backbone, cell.numerics, cell.protocol
        self._model = make_classifier(backbone, len(cell.data.classes), cell.seed, numerics)
        self._forward: Callable[[Tensor], Tensor] = torch.compile(self._model) if numerics.compile else self._model
        self._evaluator = Evaluator(self._forward, cell.data, cell.transform, numerics, device, team, workers)
        self._network = self._shared(team) if isinstance(team, Peers) else Network(self._forward)
        self._optimizer = make_optimizer(self._model, protocol)
        trained = {id(parameter) for parameter in self._model.trained()}
        held = {n: p for n, p in self._model.features.named_parameters() if n in backbone.masks and id(p) in trained}
        masks = {name: mask for name, mask in backbone.masks.items() if name in held}
        self._holder = masking.MaskHolder(self._model.features, masks, self._optimizer)
        self._scaler = torch.amp.GradScaler(device.type, enabled=numerics.precision == "fp16")
        train = cell.train
        self._batches = EpochBatches(
            train, cell.transform, protocol.batch_size, cell.seed, workers=workers, decoder=cell.numerics.decoder
        )
        self._steps = steps_of(len(train), protocol.batch_size, protocol.microbatch, team.crew)
        tests = protocol.epochs if cell.each_epoch else 1
        evaluated = tests * len(cell.data.test) + (0 if cell.val is None else len(cell.val))
        self._report = Throttle(progress if team.first else None, protocol.epochs * len(train) + evaluated)
        self._training = Training(self._model, self._optimizer, self._scaler, device)
        self._at = Position()
        self._test: npt.NDArray[np.float32] | None = None
        self._go_on()

    def _shared(self, team: Peers) -> SharedNetwork:
        masks = {f"features.{name}": mask for name, mask in self._cell.backbone.masks.items()}
        return SharedNetwork(team, self._model, masks, self._cell.protocol.parallel or Parallel())

    def train(self) -> None:
        """Take the steps that are left, and prove the mask."""
        cell = self._cell
        if cell.numerics.processes > 1 and not isinstance(self.team, Peers) and self._at.epoch < cell.protocol.epochs:
            raise RunError(f"the {cell.numerics.processes} processes of the run have left no finished training",
                           "see what they wrote, and run again")  # fmt: skip
        for epoch in range(self._at.epoch, cell.protocol.epochs):
            began = time.perf_counter()
            losses, score = self._train_epoch(epoch), None
            self._network.end_epoch()
            loss = float(np.average(losses, weights=[step.images for step in self._steps]))
            self._at = Position(epoch, len(losses), tuple(losses), self._at.best, self._at.loss)
            if cell.each_epoch:
                self._test = self._logits(cell.data.test, "test")
                score = self._evaluator.score(self._test)
            best = self._at.best if score is None else max(self._at.best or 0.0, score)
            self._at = Position(epoch + 1, 0, (), best, loss)
            if self._watch.observe is not None and self.team.first:
                lr, seconds = cell.protocol.lr_at(epoch), time.perf_counter() - began
                self._watch.observe(EpochReport(epoch, lr, loss, seconds, score))
        self._model.write()
        self._proof = sparsity.prove(self._model.features, cell.backbone.masks, cell.backbone.info.sparsity)
        require_equal(self.team, list(self._model.state_dict().values()))

    def leave(self) -> None:
        """Write down the finished training."""
        self._keep(stopping=False, due=True)

    def result(self) -> FinetuneResult:
        """Score what was trained."""
        cell = self._cell
        return FinetuneResult(
            n_train=len(cell.train),
            test_logits=self._logits(cell.data.test, "test") if self._test is None else self._test,
            val_logits=None if cell.val is None else self._logits(cell.val, "val"),
            train_loss=self._at.loss,
            best_test=self._at.best,
            mask_proof=self._proof,
            state_dict=self._model.named_state(self._cell.backbone.info.head_name),
        )

    def _go_on(self) -> None:
        """Go on from the state on disk, if there is one."""
        if self._watch.resume is None:
            return
        found = self._watch.resume.restore(self._training)
        read = self.team.gather(torch.tensor([-1, -1] if found is None else [found.epoch, found.step]))
        if bool((read != read[0]).any()):
            raise RunError("the processes of the run have read different training states", "run again")
        if found is not None:
            self._network.restore(self._training.shared)
            self._at = found
            seen = found.epoch * len(self._cell.train) + found.step * self._cell.protocol.batch_size
            self._report.advance(min(seen, self._cell.protocol.epochs * len(self._cell.train)))

    def _train_epoch(self, epoch: int) -> list[float]:
        """Take the steps of an epoch that are left; return the loss of each of its steps."""
        for group in self._optimizer.param_groups:
            group["lr"] = self._cell.protocol.lr_at(epoch)
        self._model.train()
        losses = list(self._at.losses)
        pending: list[Tensor] = []
        steps = self._steps[self._at.step :]
        batches = self._batches.at(epoch, [step.positions for step in steps]) if steps else ()
        for step, (images, labels) in zip(steps, waiting("data", batches), strict=True):
            with stage("train"):
                pending.append(self._step(_Batch(images, labels, step)))
            self._report.advance(step.images)
            stopping, due = self._asked()
            if len(pending) == _CHECK_EVERY or stopping or due:
                losses += self._look(pending, epoch, len(losses))
                pending.clear()
                self._at = Position(epoch, len(losses), tuple(losses), self._at.best, self._at.loss)
                self._keep(stopping, due)
        return losses + self._look(pending, epoch, len(losses))

    def _asked(self) -> tuple[bool, bool]:
        """Return whether any process is to stop, and whether the state is to be written down."""
        resume = self._watch.resume
        stopping, due = self.team.agree(interruption.stop_requested(), resume is not None and resume.due())
        if stopping and not interruption.stop_requested():
            interruption.request_stop("another process of the run was asked to stop")
        return stopping, due

    def _keep(self, stopping: bool, due: bool) -> None:
        """Write the state down if it is time, and stop if that was asked for."""
        resume = self._watch.resume
        if resume is not None and (stopping or due):
            self._training.shared = self._network.collect()
            resume.save(self._training, self._at)
        if stopping:
            interruption.check()

    def _look(self, losses: list[Tensor], epoch: int, first: int) -> list[float]:
        """Return the losses as numbers; a GPU's host waits for its steps here."""
        with stage("train"):
            whole = list(self.team.add(torch.stack(losses))) if losses else []
            return require_finite(whole, epoch, first, self._cell.protocol)

    def _step(self, batch: _Batch) -> Tensor:
        """Take one optimizer step and hold the mask; return the loss before it, as far as it is this process's."""
        self._optimizer.zero_grad(set_to_none=True)
        parts = batch.step.parts
        sizes = [part.images for part in parts]
        losses = []
        for k, (part, images, labels) in enumerate(
            zip(parts, batch.images.split(sizes), batch.labels.split(sizes), strict=True), start=1
        ):
            with self._network.computing(part, last=k == len(parts)):
                losses.append(self._backward(images, labels, part))
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._holder.hold()
        return losses[0] if len(losses) == 1 else torch.stack(losses).sum()

    def _backward(self, images: Tensor, labels: Tensor, part: Part) -> Tensor:
        """Add a part's gradients, weighted by its share of the step's images; return its weighted loss."""
        images = to_network(images, self._cell.transform, self._device, self._cell.numerics)
        labels = to_device(labels, self._device)
        with autocast(self._cell.numerics):
            logits = self._network.forward(images)
        loss = F.cross_entropy(logits.float(), labels)
        if part.share < 1.0:
            loss = loss * part.share
        self._scaler.scale(loss).backward()
        return loss.detach()

    def _logits(self, split: Split, name: str) -> npt.NDArray[np.float32]:
        """Return the logits (n, C) of a split, in eval mode."""
        self._model.eval()
        return self._evaluator.logits(split, name, self._between)

    def _between(self, images: int) -> None:
        """Look after a round of an evaluation whether to stop."""
        stopping, _ = self._asked()
        if stopping:
            self._keep(stopping, due=False)
        self._report.advance(images)
