"""Run one group: load once, extract once, and leave one record a run, also for a run that fails."""

from __future__ import annotations

import os
import platform
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch

from . import __version__, probes
from .datasets import TaskData, concatenate, open_task
from .datasets.transforms import Transform, resolve_transform
from .features import Features, extract
from .files import write_bytes
from .finetune import finetune
from .loading import Backbone, load_entry
from .probes.base import cross_entropy, evaluate
from .schema import (
    Failure,
    Group,
    MaskProof,
    RunError,
    RunRecord,
    RunSpec,
    Scores,
    SparsebenchError,
    canonical_json,
)
from .store import Predictions, Store

PACKAGES = ("torch", "torchvision", "timm", "numpy", "pillow")


@dataclass(frozen=True)
class RunOptions:
    """Where a run reads and writes, and what else it leaves."""

    results: Path
    data_dir: Path | None = None
    cache_dir: Path | None = None
    save_weights: bool = False
    workers: int = 0


@dataclass(frozen=True)
class Event:
    """What a runner tells while it works: a run ``started``, made ``progress``, or is ``done`` (with its record)."""

    kind: Literal["started", "progress", "done"]
    run_id: str
    done: float = 0.0
    total: float = 0.0
    record: RunRecord | None = None


Emit = Callable[[Event], None]


def run_group(group: Group, options: RunOptions, emit: Emit) -> None:
    """Run every run of a group and write its record.

    What fails becomes a failure record, and the next run goes on; interrupts pass through.

    Parameters
    ----------
    group : Group
        The runs, with the registry entries they need.
    options : RunOptions
        Where to read and write.
    emit : callable
        Told as runs start, progress and end.
    """
    torch.set_num_threads(group.runs[0].numerics.threads)
    session = _Session(group, options)
    for spec in group.runs:
        emit(Event("started", spec.run_id))
        emit(Event("done", spec.run_id, record=_run(session, spec, emit)))


def _run(session: _Session, spec: RunSpec, emit: Emit) -> RunRecord:
    started, clock = datetime.now(UTC).isoformat(timespec="seconds"), time.perf_counter()

    def progress(done: float, total: float) -> None:
        emit(Event("progress", spec.run_id, done, total))

    outcome: _Outcome | None = None
    failure: Failure | None = None
    try:
        outcome = session.run(spec, progress)
    except Exception as error:  # whatever it is, it belongs into the record
        failure = _failure(error)
    record = RunRecord(
        run_id=spec.run_id,
        status="failed" if outcome is None else "ok",
        spec=spec,
        scores=outcome.scores if outcome else None,
        mask_proof=outcome.mask_proof if outcome else None,
        failure=failure,
        weights_file=outcome.weights_file if outcome else None,
        seconds=round(time.perf_counter() - clock, 4),
        feature_seconds=outcome.feature_seconds if outcome else None,
        started=started,
        environment=environment(),
    )
    return _write(session.store, record, outcome.predictions if outcome else None)


def _write(store: Store, record: RunRecord, predictions: Predictions | None) -> RunRecord:
    """Write a record; if that fails, try a small failure record in its place."""
    try:
        return store.write(record, predictions)
    except RunError as error:
        failed = record.model_copy(
            update={"status": "failed", "scores": None, "failure": _failure(error), "weights_file": None}
        )
        try:
            return store.write(failed)
        except RunError:
            return failed  # the disk itself is full: the caller reports the failure, nothing is recorded


def _failure(error: BaseException) -> Failure:
    known = isinstance(error, SparsebenchError)
    message = str(error) if known else f"{error}" or type(error).__name__
    if isinstance(error, torch.cuda.OutOfMemoryError):
        message = f"out of device memory: {message.splitlines()[0]}; choose a protocol with a smaller batch"
    return Failure(type=type(error).__name__, message=message, traceback="".join(traceback.format_exception(error)))


@dataclass(frozen=True)
class _Outcome:
    scores: Scores
    predictions: Predictions
    mask_proof: MaskProof | None = None
    feature_seconds: float | None = None
    weights_file: str | None = None


@dataclass
class _Session:
    """What the runs of a group share; loaded at the first one, so that a failure to load is that run's failure."""

    group: Group
    options: RunOptions
    store: Store = field(init=False)
    _loaded: tuple[Backbone, TaskData, Transform] | None = None
    _features: tuple[Features, Features, Features | None] | None = None

    def __post_init__(self) -> None:
        self.store = Store(self.options.results)

    def run(self, spec: RunSpec, progress: Callable[[float, float], None]) -> _Outcome:
        if self._loaded is None:
            self._loaded = self._load(spec)
        return self._linear(spec, progress) if spec.mode == "linear" else self._full(spec, progress)

    def _load(self, spec: RunSpec) -> tuple[Backbone, TaskData, Transform]:
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
        return backbone, data, transform

    def _linear(self, spec: RunSpec, progress: Callable[[float, float], None]) -> _Outcome:
        assert self._loaded is not None and spec.probe is not None  # noqa: S101, PT018 - set by run()
        _, data, _ = self._loaded
        if self._features is None:
            self._features = self._extract(spec, progress)
        train, test, val = self._features
        classes = len(data.classes)
        fit = probes.get(spec.probe)
        head = fit(
            train.x, train.y, classes, self.group.protocol, spec.seed, device=spec.numerics.device, progress=progress
        )
        test_logits = head.logits(test.x)
        scores = _scores(
            test_logits,
            data,
            n_train=len(train.y),
            val_logits=None if val is None else head.logits(val.x),
            train_loss=cross_entropy(head.logits(train.x), train.y),
        )
        seconds = sum(f.seconds for f in (train, test, val) if f is not None)
        return _Outcome(scores, _predictions(test_logits, data), feature_seconds=round(seconds, 4))

    def _extract(
        self, spec: RunSpec, progress: Callable[[float, float], None]
    ) -> tuple[Features, Features, Features | None]:
        assert self._loaded is not None  # noqa: S101 - set by run()
        backbone, data, transform = self._loaded
        holds_out = self.group.protocol.train_on == "train"
        splits = [data.train if holds_out else concatenate(data.train, data.val), data.test]
        if holds_out and len(data.val):
            splits.append(data.val)
        found = [
            extract(backbone, s, transform, spec.numerics, cache_dir=self.options.cache_dir, progress=progress)
            for s in splits
        ]
        return found[0], found[1], found[2] if len(found) > 2 else None

    def _full(self, spec: RunSpec, progress: Callable[[float, float], None]) -> _Outcome:
        assert self._loaded is not None  # noqa: S101 - set by run()
        backbone, data, transform = self._loaded
        result = finetune(
            backbone,
            data,
            transform,
            self.group.protocol,
            spec.seed,
            numerics=spec.numerics,
            progress=progress,
            workers=self.options.workers,
        )
        n_train = len(data.train) + (len(data.val) if self.group.protocol.train_on == "trainval" else 0)
        scores = _scores(
            result.test_logits,
            data,
            n_train=n_train,
            val_logits=result.val_logits,
            train_loss=result.train_loss,
            best_test=result.best_test,
        )
        weights = self._save_weights(spec, backbone, data, result.state_dict) if self.options.save_weights else None
        return _Outcome(scores, _predictions(result.test_logits, data), result.mask_proof, weights_file=weights)

    def _save_weights(self, spec: RunSpec, backbone: Backbone, data: TaskData, state: dict[str, torch.Tensor]) -> str:
        from safetensors.torch import save

        tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
        described = {
            "arch": backbone.info.arch,
            "checkpoint": spec.checkpoint,
            "task": spec.task,
            "classes": list(data.classes),
            "run_id": spec.run_id,
        }
        name = f"weights/{spec.run_id}.safetensors"
        write_bytes(self.options.results / name, save(tensors, {"finetuned": canonical_json(described)}))
        return name


def _predictions(logits: Any, data: TaskData) -> Predictions:
    return Predictions(data.test.ids, data.test.labels, logits)


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


@cache
def environment() -> dict[str, str]:
    """Return what else the numbers may depend on: package versions, Python, processor (no names of people or hosts)."""
    found = {"sparsebench": __version__, **{name: version(name) for name in PACKAGES}}
    found["python"] = platform.python_version()
    found["processor"] = _processor()
    found["cpu_capability"] = torch.backends.cpu.get_cpu_capability()
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
    return found


def _processor() -> str:
    """Return the processor's name in print."""
    cpuinfo = Path("/proc/cpuinfo")
    for line in _lines(cpuinfo):
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine() or os.name


def _lines(path: Path) -> Iterator[str]:
    try:
        yield from path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
