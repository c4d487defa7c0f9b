"""Run one group: load once, extract once, and leave one record a run, also for a run that fails."""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch

from . import probes
from .datasets import TaskData, open_task
from .datasets.base import partition
from .datasets.transforms import Transform, resolve_transform
from .environment import PACKAGES as VERSIONED
from .environment import environment
from .failures import RETRIES, RETRY_SECONDS, is_infrastructure, pause_before, wait
from .features import Features, extract
from .files import write_bytes
from .finetune import EpochReport, MidRun, finetune
from .finetune.midrun import EVERY_SECONDS
from .loading import Backbone, load_entry
from .logs import RunLogs
from .plan import Overwrite
from .probes.base import evaluate
from .probes.choice import at_best, choose
from .probes.data import Fitted, ProbeData
from .probes.fitting import accuracies
from .probes.rows import Rows
from .progress import Progress, part, tell
from .schema import (
    Failure,
    Group,
    MaskProof,
    RunError,
    RunRecord,
    RunSpec,
    Scores,
    Trial,
    canonical_json,
)
from .search import search_full, search_progress, with_choice
from .stages import measuring, stage
from .store import LEASE_SECONDS, Claims, Predictions, Store
from .turns import Turns

T = TypeVar("T")


@dataclass(frozen=True)
class RunOptions:
    """Where a run reads and writes, what else it leaves, and which records it leaves as they are.

    ``since`` is the date of the command's plan file, in nanoseconds by the clock of the results' file system: a record
    written from then on is this command's own, or that of a process that works on the same runs. ``lease_seconds`` is
    how long a run stays claimed for a process that is not heard of any more. ``checkpoint_seconds`` is how often a
    finetuning writes down how far it is; ``retries`` and ``retry_seconds`` say how often, and after how long, a run is
    tried again that the disk or the network failed; ``logger`` is one of :data:`sparsebench.logs.LOGGERS`.
    """

    results: Path
    data_dir: Path | None = None
    cache_dir: Path | None = None
    save_weights: bool = False
    workers: int | None = None
    overwrite: Overwrite = "failed"
    since: int | None = None
    lease_seconds: float = LEASE_SECONDS
    checkpoint_seconds: float = EVERY_SECONDS
    retries: int = RETRIES
    retry_seconds: float = RETRY_SECONDS
    logger: str | None = None


@dataclass(frozen=True)
class Event:
    """What a runner tells while it works: a run ``started``, made ``progress``, or is ``done`` (with its record).

    A run that another process has done is ``done`` without having started.
    """

    kind: Literal["started", "progress", "done"]
    run_id: str
    done: float = 0.0
    total: float = 0.0
    record: RunRecord | None = None


Emit = Callable[[Event], None]


def run_group(group: Group, options: RunOptions, emit: Emit, *, wait: bool = True) -> tuple[RunSpec, ...]:
    """Do every run of a group that isn't done, and write its record.

    What fails becomes a failure record, and the next run goes on; interrupts pass through. Each run is claimed first;
    one that another process holds comes last, and is reported with that process's record.

    Parameters
    ----------
    group : Group
        The runs, with the registry entries they need.
    options : RunOptions
        Where to read and write.
    emit : callable
        Told as runs start, progress and end.
    wait : bool
        Wait for the runs that other processes hold; without it they are returned.

    Returns
    -------
    tuple of RunSpec
        The runs that are still held by others; none after waiting.
    """
    torch.set_num_threads(group.runs[0].numerics.threads)
    session = _Session(group, options)
    left = group.runs
    with Claims(options.results, options.lease_seconds) as claims:
        turns = Turns(session.store, claims, options.overwrite, options.since, options.save_weights)
        while left:
            # the seeds of a probe are fitted together, so they are claimed together
            taken = turns.take(left, at_once=len(left) if group.mode == "linear" else 1)
            for record in taken.done:
                emit(Event("done", record.run_id, record=record))
            for spec, error in taken.refused:
                emit(Event("done", spec.run_id, record=_refused(session, spec, error)))
            session.take(tuple(spec for spec, _ in taken.mine))
            for spec, held in taken.mine:
                emit(Event("started", spec.run_id))
                record = _run(session, spec, emit)
                claims.release(held)
                emit(Event("done", spec.run_id, record=record))
            left = taken.left
            if left and not taken.moved:
                if not wait:
                    break
                turns.pause(group.label, len(left))
    return left


def _refused(session: _Session, spec: RunSpec, error: RunError) -> RunRecord:
    """Return the failure record of a run that could not be claimed."""
    started = datetime.now(UTC).isoformat(timespec="seconds")
    record = RunRecord(run_id=spec.run_id, status="failed", spec=spec, failure=_failure(error, spec), started=started,
                       environment=environment())  # fmt: skip
    return _write(session, record, None, RunLogs(session.options.results, spec))


def _run(session: _Session, spec: RunSpec, emit: Emit) -> RunRecord:
    started, clock = datetime.now(UTC).isoformat(timespec="seconds"), time.perf_counter()

    def progress(done: float, total: float) -> None:
        emit(Event("progress", spec.run_id, done, total))

    logs = RunLogs(session.options.results, spec, session.options.logger)
    resume = _midrun(session.options, spec)
    outcome: _Outcome | None = None
    failure: Failure | None = None
    with measuring() as stages:
        try:
            outcome = _persist(session, logs, lambda: session.run(spec, progress, _Kept(resume, logs)))
        except Exception as error:  # whatever it is, it belongs into the record
            failure = _failure(error, spec)
        except BaseException as stop:
            logs.stopped(str(stop) or type(stop).__name__)
            raise
    if outcome is not None and outcome.shared_seconds:
        stages["probe"] = max(0.0, stages.get("probe", 0.0) + outcome.shared_seconds)
    record = RunRecord(
        run_id=spec.run_id,
        status="failed" if outcome is None else "ok",
        spec=spec,
        scores=outcome.scores if outcome else None,
        trials=outcome.trials if outcome else (),
        mask_proof=outcome.mask_proof if outcome else None,
        failure=failure,
        weights_file=outcome.weights_file if outcome else None,
        seconds=round(time.perf_counter() - clock + (outcome.shared_seconds if outcome else 0.0), 4),
        feature_seconds=outcome.feature_seconds if outcome else None,
        stages={name: round(seconds, 4) for name, seconds in stages.items()},
        features_cached=outcome.features_cached if outcome else None,
        started=started,
        environment=environment(),
    )
    written = _write(session, record, outcome.predictions if outcome else None, logs)
    if written.status == "ok":
        resume.remove()
    logs.end(written)
    return written


def _midrun(options: RunOptions, spec: RunSpec) -> MidRun:
    """Return where a run keeps how far it is; the processor may be another one when it goes on."""
    versions = {name: found for name, found in environment().items() if name in VERSIONED}
    identity = {"run": spec.run_id, "numerics": spec.numerics.model_dump(mode="json"), "versions": versions}
    return MidRun(options.results / "unfinished" / spec.run_id, identity, options.checkpoint_seconds)


def _persist(session: _Session, logs: RunLogs, act: Callable[[], T]) -> T:
    """Do something, and again after a while where what it stands on has failed, as often as the options say."""
    options = session.options
    for attempt in range(1, options.retries + 1):
        try:
            return act()
        except Exception as error:
            if not is_infrastructure(error):
                raise
            seconds = pause_before(attempt, options.retry_seconds)
            text = f"{type(error).__name__}: {error}"
            logs.event("retry", attempt=attempt, of=options.retries, error=text, pause=seconds)
            tell(f"{session.group.label}: {text}; try {attempt} of {options.retries} in {seconds:g} s")
            session.forget()
        wait(seconds)
    return act()


def _write(session: _Session, record: RunRecord, predictions: Predictions | None, logs: RunLogs) -> RunRecord:
    """Write a record; where that fails, a small failure record in its place, if the disk takes it."""
    store = session.store
    if record.status == "ok":
        try:
            return _persist(session, logs, lambda: store.write(record, predictions))
        except RunError as error:
            update = {"status": "failed", "scores": None, "failure": _failure(error, record.spec), "weights_file": None}
            record = record.model_copy(update=update)
    with contextlib.suppress(RunError):  # the disk itself is full: the caller is told of the failure all the same
        store.write_failure(record)
    return record


def _failure(error: BaseException, spec: RunSpec) -> Failure:
    message = str(error) or type(error).__name__
    if isinstance(error, torch.OutOfMemoryError):
        message = f"out of device memory: {message.splitlines()[0]}; {_smaller(spec)}"
    return Failure(type=type(error).__name__, message=message, traceback="".join(traceback.format_exception(error)))


def _smaller(spec: RunSpec) -> str:
    """Return what to try where the device's memory doesn't take a run."""
    batch = spec.numerics.microbatch or spec.protocol.get("batch_size")
    if spec.mode == "full" and isinstance(batch, int) and batch >= 4:
        return f"{batch} images at once are too many: try --microbatch {batch // 2}, or a device with more memory"
    return "try a device with more memory, or --device cpu"


@dataclass(frozen=True)
class _Kept:
    """Where a run keeps how far it is, and who is told of its epochs."""

    resume: MidRun
    logs: RunLogs

    def observe(self, report: EpochReport) -> None:
        """Log an epoch."""
        values = {"loss": report.loss, "lr": report.lr, "seconds": round(report.seconds, 3)}
        self.logs.epoch(report.epoch + 1, values if report.test is None else values | {"test": report.test})


@dataclass(frozen=True)
class _Outcome:
    """What a run gives; ``shared_seconds`` corrects its time where one fit served several runs of the group."""

    scores: Scores
    predictions: Predictions
    mask_proof: MaskProof | None = None
    feature_seconds: float | None = None
    features_cached: bool | None = None
    weights_file: str | None = None
    trials: tuple[Trial, ...] = ()
    shared_seconds: float = 0.0


@dataclass(frozen=True)
class _Loaded:
    backbone: Backbone
    data: TaskData
    transform: Transform


class _Session:
    """What the runs of a group share; loaded at the first one, so that a failure to load is that run's failure."""

    def __init__(self, group: Group, options: RunOptions) -> None:
        self.group, self.options = group, options
        self.store = Store(options.results)
        self._loaded: _Loaded | None = None
        self._features: list[Features] | None = None
        self._fitted: dict[int, Fitted | RunError] = {}  # by seed
        self._alone = False  # fitting all seeds at once has failed

    def take(self, runs: tuple[RunSpec, ...]) -> None:
        """Let ``runs`` be those of the group that are done here, next and together."""
        self.group = self.group.model_copy(update={"runs": runs})

    def forget(self) -> None:
        """Load anew what is shared, when it is next needed: what it was read from has failed."""
        self._loaded, self._features = None, None

    def run(self, spec: RunSpec, progress: Progress, kept: _Kept) -> _Outcome:
        """Run one cell."""
        if self._loaded is None:
            with stage("load"):
                self._loaded = self._load(spec)
        if spec.mode == "full":
            return self._full(spec, self._loaded, progress, kept)
        if self._features is None:
            self._features = self._extract(spec, self._loaded, part(progress, 0.0, 0.5))
            progress = part(progress, 0.5, 1.0)
        return self._linear(spec, self._loaded, self._features, progress)

    def _load(self, spec: RunSpec) -> _Loaded:
        backbone = load_entry(self.group.checkpoint)
        data = open_task(self.group.task, self.options.data_dir, self.options.cache_dir)
        transform = resolve_transform(backbone.preprocess, data.task, self.group.protocol)
        for what, now, planned in (
            ("checkpoint", backbone.info.weights_sha256, spec.weights_sha256),
            ("checkpoint's mask", backbone.info.mask_sha256, spec.mask_sha256),
            ("data set", data.split_sha256, spec.split_sha256),
            ("transform", transform.sha256, spec.transform_sha256),
        ):
            if now != planned:
                raise RunError(f"the {what} of {self.group.label} has changed since the plan was made", "run again")
        return _Loaded(backbone, data, transform)

    def _extract(self, spec: RunSpec, loaded: _Loaded, progress: Progress) -> list[Features]:
        """Return the features of the training and test images, and of validation where that isn't trained on."""
        train, held_out = partition(loaded.data, self.group.protocol.train_on)
        splits = [train, loaded.data.test] + ([] if held_out is None else [held_out])
        return [
            extract(
                loaded.backbone,
                split,
                loaded.transform,
                spec.numerics,
                cache_dir=self.options.cache_dir,
                progress=part(progress, k / len(splits), (k + 1) / len(splits)),
                workers=self.options.workers,
            )
            for k, split in enumerate(splits)
        ]

    def _linear(self, spec: RunSpec, loaded: _Loaded, features: list[Features], progress: Progress) -> _Outcome:
        train, test, *held_out = features
        data = loaded.data
        probe_data = ProbeData(
            x=Rows([train.x, *(f.x for f in held_out)]),
            y=np.concatenate([train.y, *(f.y for f in held_out)]),
            n_train=len(data.train),
            x_test=test.x,
            y_test=test.y,
            num_classes=len(data.classes),
            metric=spec.metric,
        )
        started = time.perf_counter()
        with stage("probe"):
            fitted = self._fit(spec, probe_data, progress)
        passed = time.perf_counter() - started
        if isinstance(fitted, RunError):
            raise fitted
        return _Outcome(
            _probe_scores(fitted, probe_data, data),
            _predictions(fitted.test_logits, data),
            feature_seconds=round(sum(f.seconds for f in features), 4),
            features_cached=all(f.cached for f in features),
            trials=fitted.trials,
            shared_seconds=fitted.seconds - passed,
        )

    def _fit(self, spec: RunSpec, data: ProbeData, progress: Progress) -> Fitted | RunError:
        """Return a run's fit; the first one asked for fits all runs of the group together.

        Where that fails as a whole, each run is fitted alone, so that what is wrong with one is its own failure.
        """
        if spec.seed not in self._fitted:
            fit, seeds = probes.get(spec.probe or ""), [run.seed for run in self.group.runs]
            options: dict[str, Any] = {"device": spec.numerics.device, "progress": progress}
            if len(seeds) > 1 and not self._alone:
                try:
                    self._fitted = dict(zip(seeds, fit(data, self.group.protocol, seeds, **options), strict=True))
                except Exception as error:
                    tell(f"{self.group.label}: {type(error).__name__} with {len(seeds)} seeds at once; now one by one")
                    self._alone = True
            if spec.seed not in self._fitted:
                (self._fitted[spec.seed],) = fit(data, self.group.protocol, [spec.seed], **options)
        return self._fitted.pop(spec.seed)

    def _full(self, spec: RunSpec, loaded: _Loaded, progress: Progress, kept: _Kept) -> _Outcome:
        data, protocol, numerics = loaded.data, self.group.protocol, spec.numerics
        workers = self.options.workers
        trials: tuple[Trial, ...] = ()
        chosen: Trial | None = None
        fixed = (loaded.backbone, data, loaded.transform)
        if protocol.grid is not None:
            searching, progress = search_progress(protocol, progress)
            trials = search_full(
                *fixed,
                protocol,
                spec.seed,
                numerics=numerics,
                progress=searching,
                workers=workers,
                resume=kept.resume,
            )
            chosen = choose(trials, spec.metric)
            protocol = at_best(protocol, chosen)
        result = finetune(
            *fixed,
            protocol,
            spec.seed,
            numerics=numerics,
            progress=progress,
            workers=workers,
            resume=kept.resume,
            observe=kept.observe,
        )
        scores = _scores(
            result.test_logits,
            data,
            n_train=len(partition(data, protocol.train_on)[0]),
            val_logits=result.val_logits,
            train_loss=result.train_loss,
            best_test=result.best_test,
        )
        weights = self._save_weights(spec, loaded, result.state_dict) if self.options.save_weights else None
        predictions = _predictions(result.test_logits, data)
        scores = with_choice(scores, chosen, len(data.val))
        return _Outcome(scores, predictions, result.mask_proof, weights_file=weights, trials=trials)

    def _save_weights(self, spec: RunSpec, loaded: _Loaded, state: dict[str, torch.Tensor]) -> str:
        from safetensors.torch import save

        tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
        described = {
            "arch": loaded.backbone.info.arch,
            "checkpoint": spec.checkpoint,
            "task": spec.task,
            "classes": list(loaded.data.classes),
            "run_id": spec.run_id,
        }
        name = f"weights/{spec.run_id}.safetensors"
        write_bytes(self.options.results / name, save(tensors, {"finetuned": canonical_json(described)}))
        return name


def _predictions(logits: Any, data: TaskData) -> Predictions:
    return Predictions(data.test.ids, data.test.labels, logits)


def _probe_scores(fitted: Fitted, probed: ProbeData, data: TaskData) -> Scores:
    classes = len(data.classes)
    top1, per_class = accuracies(fitted, probed)
    val = None if fitted.val_logits is None else evaluate(fitted.val_logits, data.val.labels, classes)
    scores = Scores(
        top1=top1,
        mean_per_class=per_class,
        val_top1=val.top1 if val else None,
        val_mean_per_class=val.mean_per_class if val else None,
        train_loss=fitted.train_loss,
        few_shot=tuple(fitted.few_shot),
        n_train=fitted.n_train,
        n_val=len(data.val) if val else 0,
        n_test=len(data.test),
        n_classes=classes,
    )
    return with_choice(scores, fitted.chosen, int((~probed.fitted).sum()))


def _scores(
    test_logits: Any,
    data: TaskData,
    *,
    n_train: int,
    val_logits: Any | None,
    train_loss: float,
    best_test: float | None = None,
) -> Scores:
    classes = len(data.classes)
    test = evaluate(test_logits, data.test.labels, classes)
    val = None if val_logits is None else evaluate(val_logits, data.val.labels, classes)
    return Scores(
        top1=test.top1,
        mean_per_class=test.mean_per_class,
        val_top1=val.top1 if val else None,
        val_mean_per_class=val.mean_per_class if val else None,
        best_test=best_test,
        train_loss=train_loss,
        n_train=n_train,
        n_val=len(data.val) if val else 0,
        n_test=len(data.test),
        n_classes=classes,
    )
