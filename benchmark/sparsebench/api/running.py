"""``run``: from a request to the records of its plan. What needs torch is imported after the checks that need none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, Unpack, cast

from .. import extensions
from ..caching import cache_limit
from ..common import interruption
from ..common.paths import datasets_dir
from ..common.progress import notify
from ..downloads import TransferDisplay
from ..registry.protocols import given_settings
from ..registry.selection import Selection
from ..runs.executors import make_executor
from ..runs.executors.estimate import Estimator
from ..runs.executors.packing import arranged
from ..runs.plan import Plan
from ..runs.planning import Places, make_plan
from ..runs.prefetch import IfMissing, counted
from ..runs.request import Request, check_request, request_of, several, with_files
from ..runs.todo import still_to_do
from ..schema import InputError, PlanFile, RunError, RunRecord, RunSpec
from ..store import Store, frame
from ..store.plans import write_plan
from .keywords import RunKeywords, with_keywords
from .notebook import shown

if TYPE_CHECKING:
    import pandas as pd

    from ..runs.executors.base import Executor
    from ..runs.runner import Emit, Event

__all__ = ["Prepared", "execute", "prepare", "run"]

T = TypeVar("T")
OneOrMore: TypeAlias = T | Sequence[T] | None


@dataclass(frozen=True)
class Prepared:
    """A request, checked: its whole plan, and the part of it that is still to do.

    ``other_numerics`` counts the runs still to do that are done with another device, precision, engine or thread count.
    """

    request: Request
    plan: Plan
    todo: Plan
    other_numerics: int = 0


def prepare(request: Request, note: Callable[[str], None] | None = None, *, dry_run: bool = False) -> Prepared:
    """Check a request, fetch what it needs and make its plan; nothing is written but caches and what is fetched.

    Parameters
    ----------
    request : Request
        What is asked for.
    note : callable, optional
        Called with what is being checked, line by line.
    dry_run : bool
        Fetch nothing: the plan names what is missing, and the cells that need it.

    Raises
    ------
    InputError
        If anything asked for can't be used.
    """
    request = with_files(request)
    check_request(request)
    cache_limit()
    store = Store(request.results)
    store.check_writable()
    with TransferDisplay() as display:
        forbidden = request.offline_reason
        if_missing: IfMissing = "name" if dry_run else "skip" if request.skip_missing else "refuse"
        if forbidden is None and request.where.elsewhere:
            forbidden = f"--executor {request.where.name}"
        prefetch = request.prefetch(display, forbidden=forbidden, if_missing=if_missing)
        places = Places(request.data_dir, request.cache_dir, request.where.elsewhere)
        plan = make_plan(
            request.selection, request.registry(), request.numerics, places, prefetch.provide, note or (lambda _: None)
        )
    if not plan.groups and not dry_run:
        raise InputError(f"nothing of it is here: {', '.join(counted(plan.missing))}", "--dry-run says where to get it")
    records = store.read([run.run_id for run in plan.runs])
    finished = [record for record in records if record.status == "ok"]
    if request.numerics.engine == "auto":
        plan = plan.with_engines_of([record.spec for record in finished])
    todo = still_to_do(request, plan, records)
    prefetch.verify(group.task for group in todo.groups)
    if request.where.check is not None:
        extensions.load(request.where.check)(request.executor_settings, len(todo.runs))
    ids, as_asked = {record.run_id for record in finished}, {record.record_key for record in finished}
    done_otherwise = sum(run.run_id in ids and run.record_key not in as_asked for run in todo.runs)
    return Prepared(request, plan, todo, done_otherwise)


def execute(prepared: Prepared, emit: Emit | None = None) -> list[RunRecord]:
    """Run what is still to do, and return the records of the whole plan (without the runs that have none).

    Raises
    ------
    RunError
        If the plan itself can't be written.
    """
    request = prepared.request
    store = Store(request.results)
    store.sweep()
    created = datetime.now(UTC).isoformat(timespec="seconds")
    written = write_plan(
        store.plans_dir, PlanFile(command=request.command, created=created, groups=prepared.plan.groups)
    )
    failures = _run(prepared, store, written, emit) if prepared.todo.groups else {}
    planned = {run.record_key: run for run in prepared.plan.runs}
    records = {record.record_key: record for record in store.read(planned)}
    return [_labelled(record, planned[record.record_key], store) for record in (records | failures).values()]


def _run(prepared: Prepared, store: Store, plan: Path, emit: Emit | None) -> dict[str, RunRecord]:
    """Run what is to do, and return the failures by record key; torch is imported here, where a number is computed."""
    import torch

    from ..runs.options import RunOptions

    request = prepared.request
    options = RunOptions(
        results=request.results.resolve(),
        data_dir=(request.data_dir or datasets_dir()).resolve(),
        cache_dir=request.cache_dir and request.cache_dir.resolve(),  # None: no cache
        save_weights=request.save_weights,
        save_heads=request.save_heads,
        predictions=request.predictions,
        workers=request.workers,
        overwrite=request.overwrite,
        since=plan.stat().st_mtime_ns,
        checkpoint_seconds=request.checkpoint_seconds,
        retries=request.retries,
        logger=request.logger,
    )
    failures: dict[str, RunRecord] = {}

    def relay(event: Event) -> None:
        if event.record is not None and event.record.status == "failed":
            failures[event.key] = event.record
        if emit is not None:
            emit(event)

    before = torch.get_num_threads()
    try:
        with interruption.handled():
            _executor(request, plan.stem).execute(_arranged(prepared.todo, request, store), options, relay)
    finally:
        torch.set_num_threads(before)
    return failures


def _executor(request: Request, plan: str) -> Executor:
    context = extensions.ExecutorContext(
        plan,
        request.jobs,
        request.numerics.threads,
        request.executor_settings,
        request.wait,
        say=notify,
        processes=request.numerics.processes,
    )
    return make_executor(request.where.name, context)


def _arranged(plan: Plan, request: Request, store: Store) -> Plan:
    """Return a plan in the order in which several workers are done first; one process keeps the plan's own."""
    if not request.where.parallel:
        return plan
    return replace(plan, groups=tuple(arranged(plan.groups, Estimator(store.read()).group)))


def _labelled(record: RunRecord, planned: RunSpec, store: Store) -> RunRecord:
    """Return a record under the plan's labels, and keep it so: it may have been made under others for the same run.

    A label is what the newest request calls a thing: a name, a reference, the metric that is the headline.
    """
    if record.spec == planned:
        return record
    record = record.model_copy(update={"spec": planned})
    if record.status == "ok":
        try:
            store.write(record)
        except RunError as error:
            notify(f"{error.message}: its labels stay as they were")
    return record


@with_keywords(RunKeywords)
def run(
    *,
    method: OneOrMore[str] = None,
    sparsity: OneOrMore[float] = None,
    arch: OneOrMore[str] = None,
    checkpoint: OneOrMore[str | Path] = None,
    task: OneOrMore[str | Path] = None,
    suite: str = "mini",
    mode: OneOrMore[str] = None,
    seed: OneOrMore[int] = None,
    results: str | Path = "runs",
    variant: OneOrMore[str] = None,
    replicate: OneOrMore[int | str] = None,
    probe: OneOrMore[str | Path] = None,
    microbatch: int | None = None,
    limit: int | None = None,
    shift: OneOrMore[str] = None,
    format: str | Path = "auto",
    set: Mapping[str, Any] | OneOrMore[str] = None,
    reference: bool = False,
    emit: Emit | None = None,
    progress: bool | None = None,
    **options: Unpack[RunKeywords],
) -> pd.DataFrame:
    """Run what is selected and has no record yet, and return one row per selected run.

    Parameters
    ----------
    method, variant, replicate, sparsity, arch, checkpoint, task, mode, probe, seed : one or several, optional
        What to run. An omitted one means every value that the suite defines. A ``probe`` alone means linear mode.
    set : mapping or str or sequence of str, optional
        Settings of the protocol to change, such as ``{"lr": 0.01, "epochs": 20}``, or texts ``"lr=0.01"``.
    suite : str
        The suite.
    results : path
        The results folder.
    microbatch : int, optional
        Full mode: images of a training batch that are computed at once; a part of the protocol.
    limit : int, optional
        At most this many images of each split, for a quick look; it is added to the tasks' names.
    shift : str or sequence of str, optional
        Further test sets to score what is trained on, and what was: ``corruptions``, ``corruptions:3``, ``fog:5``, or a
        name that tasks give a test set; ``tests`` for all of these.
    format : str or path
        The format of checkpoint files: a name of ``sparsebench list formats``, or a Python file that declares one.
    reference : bool
        Run the references of the selected checkpoints, too, as the command does unless it has ``--no-reference``.
    emit : callable, optional
        Called as runs start, progress and end.
    progress : bool, optional
        Show a bar, in a notebook or on the terminal; by default in notebooks alone.
    **options
        How it is computed (:class:`.Computing`: ``threads``, ``device``, ``engine`` ...), and where it reads and writes
        (:class:`.RunKeywords`: ``data_dir``, ``jobs``, ``save_weights``, ``offline`` ...).

    Returns
    -------
    DataFrame
        One row per run, failed ones included; accuracies are fractions.

    Raises
    ------
    InputError
        If anything asked for can't be used; nothing has then been run.
    """
    selection = Selection(
        suite=suite,
        methods=several(method),
        sparsities=several(sparsity),
        variants=several(variant),
        replicates=[str(r) for r in several(replicate)],
        archs=several(arch),
        checkpoints=[str(c) for c in several(checkpoint)],
        tasks=[str(t) for t in several(task)],
        modes=several(mode),
        seeds=several(seed),
        probes=[str(p) for p in several(probe)],
        microbatch=microbatch,
        limit=limit,
        shifts=several(shift),
        format=str(format),
        settings=given_settings(set),
        references=reference,
    )
    prepared = prepare(request_of(selection, Path(results), cast("dict[str, Any]", options)))
    with shown(len(prepared.todo.runs), emit, progress) as tell:
        return frame(execute(prepared, tell))
