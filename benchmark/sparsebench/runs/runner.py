"""Run one group: load once, extract once, and leave one record per run, also for a run that fails."""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

import torch

from ..common import interruption
from ..common.progress import Progress, notify, part
from ..common.retry import is_infrastructure, pause_before, wait
from ..common.timings import measuring
from ..schema import Failure, Group, RunError, RunRecord, RunSpec
from ..store import Claims, Predictions
from ..transfer.finetune import TrainingState
from ..transfer.outcome import Further
from .claiming import Claiming
from .environment import VERSIONED, environment
from .logs import RunLogs
from .options import RunOptions
from .processes.launch import train
from .session import Kept, Loaded, Outcome, Session

__all__ = ["Emit", "Event", "Loaded", "run_group"]

T = TypeVar("T")


@dataclass(frozen=True)
class Event:
    """What a runner reports while it works: a run ``started``, made ``progress``, or is ``done`` (with its record).

    A run that another process has done is ``done`` without having started.
    """

    kind: Literal["started", "progress", "done"]
    key: str
    done: float = 0.0
    total: float = 0.0
    record: RunRecord | None = None


Emit = Callable[[Event], None]


def run_group(
    group: Group, options: RunOptions, emit: Emit, *, wait: bool = True, loaded: Loaded | None = None
) -> tuple[RunSpec, ...]:
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
        Called as runs start, progress and end.
    wait : bool
        Wait for the runs that other processes hold; without it they are returned.
    loaded : Loaded, optional
        What a group before has loaded; groups of the same checkpoint share it.

    Returns
    -------
    tuple of RunSpec
        The runs that are still held by others; none after waiting.
    """
    torch.set_num_threads(group.runs[0].numerics.threads)
    session = Session(group, options, loaded)
    left = group.runs
    with Claims(options.results, options.lease_seconds) as claims:
        claiming = Claiming(
            session.store, claims, options.overwrite, options.since, options.save_weights, group.tests, group.label
        )
        while left:
            # the seeds of a probe are fitted together, so they are claimed together
            taken = claiming.take(left, at_once=len(left) if group.mode == "linear" else 1)
            for record in taken.done:
                emit(Event("done", record.record_key, record=record))
            for spec, error in taken.refused:
                emit(Event("done", spec.record_key, record=_refused(session, spec, error)))
            session.take(tuple(spec for spec, _ in taken.mine))
            for spec, held in taken.mine:
                emit(Event("started", spec.record_key))
                record = _run(session, spec, emit)
                claims.release(held)
                emit(Event("done", spec.record_key, record=record))
                interruption.check()
            left = taken.left
            if not wait and not taken.moved:
                break
    return left


def _refused(session: Session, spec: RunSpec, error: RunError) -> RunRecord:
    """Return the failure record of a run that could not be claimed."""
    started = datetime.now(UTC).isoformat(timespec="seconds")
    record = RunRecord(status="failed", spec=spec, failure=_failure(error, spec), started=started,
                       environment=environment())  # fmt: skip
    return _write(session, record, None, RunLogs(session.options.results, spec))


def _run(session: Session, spec: RunSpec, emit: Emit) -> RunRecord:
    started, clock = datetime.now(UTC).isoformat(timespec="seconds"), time.perf_counter()

    def progress(done: float, total: float) -> None:
        emit(Event("progress", spec.record_key, done, total))

    logs = RunLogs(session.options.results, spec, session.options.logger)
    resume = _training_state(session.options, spec)
    outcome: Outcome | None = None
    failure: Failure | None = None
    with measuring() as stages:
        try:
            if (earlier := session.finished(spec)) is not None:
                return _scored_again(session, earlier, progress, logs)
            outcome = _persist(session, logs, lambda: _computed(session, spec, progress, Kept(resume, logs)))
        except Exception as error:  # whatever it is, it belongs into the record
            failure = _failure(error, spec)
        except BaseException as stop:
            logs.stopped(str(stop) or type(stop).__name__)
            raise
    if outcome is not None and outcome.shared_seconds:
        stages["probe"] = max(0.0, stages.get("probe", 0.0) + outcome.shared_seconds)
    record = RunRecord(
        status="failed" if outcome is None else "ok",
        spec=spec,
        scores=outcome.scores if outcome else None,
        tests={one.test.name: one.test for one in outcome.further} if outcome else {},
        trials=outcome.trials if outcome else (),
        mask_proof=outcome.mask_proof if outcome else None,
        failure=failure,
        weights_file=outcome.weights_file if outcome else None,
        head_file=outcome.head_file if outcome else None,
        seconds=round(time.perf_counter() - clock + (outcome.shared_seconds if outcome else 0.0), 4),
        feature_seconds=outcome.feature_seconds if outcome else None,
        processes=outcome.processes if outcome else None,
        stages={name: round(seconds, 4) for name, seconds in stages.items()},
        features_cached=outcome.features_cached if outcome else None,
        started=started,
        environment=environment(),
    )
    with interruption.deferred():  # what is computed is written
        written = _write(
            session, record, outcome.predictions if outcome else None, logs, outcome.further if outcome else ()
        )
        if written.status == "ok":
            resume.remove()
        logs.end(written)
    return written


def _computed(session: Session, spec: RunSpec, progress: Progress, kept: Kept) -> Outcome:
    """Compute a run, its training in several processes where the numerics say so."""
    processes = None
    if spec.numerics.processes > 1:
        group = session.group.model_copy(update={"runs": (spec,)})
        processes = train(group, session.options, kept.resume, part(progress, 0.0, 0.9), kept.observe)
        progress = part(progress, 0.9, 1.0)
    return replace(session.run(spec, progress, kept), processes=processes)


def _scored_again(session: Session, record: RunRecord, progress: Progress, logs: RunLogs) -> RunRecord:
    """Score a finished run on further test sets; its record and all else in it stay."""
    found = _persist(session, logs, lambda: session.score_again(record, progress))
    logs.event("further", tests=[one.test.name for one in found])
    updated = record.model_copy(update={"tests": record.tests | {one.test.name: one.test for one in found}})
    with interruption.deferred():
        return _persist(session, logs, lambda: session.store.write(updated, None, _predictions(found)))


def _predictions(found: Sequence[Further]) -> dict[str, Predictions]:
    return {one.test.name: one.predictions for one in found}


def _training_state(options: RunOptions, spec: RunSpec) -> TrainingState:
    """Return where a run keeps how far it is; the processor may be another one when it goes on."""
    versions = {name: found for name, found in environment().items() if name in VERSIONED}
    identity = {"run": spec.run_id, "numerics": spec.numerics.model_dump(mode="json"), "versions": versions}
    return TrainingState(options.results / "unfinished" / spec.record_key, identity, options.checkpoint_seconds)


def _persist(session: Session, logs: RunLogs, act: Callable[[], T]) -> T:
    """Do something, and again after a while where what it depends on has failed, as often as the options say."""
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
            notify(f"{session.group.label}: {text}; try {attempt} of {options.retries} in {seconds:g} s")
            session.forget()
        wait(seconds)
    return act()


def _write(
    session: Session,
    record: RunRecord,
    predictions: Predictions | None,
    logs: RunLogs,
    further: Sequence[Further] = (),
) -> RunRecord:
    """Write a record; where that fails, a small failure record in its place, if the disk takes it."""
    store = session.store
    if record.status == "ok":
        try:
            return _persist(session, logs, lambda: store.write(record, predictions, _predictions(further)))
        except RunError as error:
            update: dict[str, Any] = {
                "status": "failed",
                "scores": None,
                "tests": {},
                "failure": _failure(error, record.spec),
                "weights_file": None,
                "head_file": None,
            }
            record = record.model_copy(update=update)
    with contextlib.suppress(RunError):  # the disk itself is full: the caller gets the failure all the same
        store.write_failure(record)
    return record


def _failure(error: BaseException, spec: RunSpec) -> Failure:
    message = str(error) or type(error).__name__
    if isinstance(error, torch.OutOfMemoryError):
        message = f"out of device memory: {message.splitlines()[0]}; {_smaller(spec)}"
    return Failure(type=type(error).__name__, message=message, traceback="".join(traceback.format_exception(error)))


def _smaller(spec: RunSpec) -> str:
    """Return what to try where the device's memory doesn't take a run."""
    batch = spec.protocol.get("microbatch") or spec.protocol.get("batch_size")
    if spec.mode == "full" and isinstance(batch, int) and batch >= 4:
        return (
            f"{batch} images at once are too many: try a device with more memory, or --microbatch {batch // 2}, which"
            " is another protocol where the network has batch normalisation"
        )
    return "try a device with more memory, or --device cpu"
