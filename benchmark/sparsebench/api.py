"""The library: ``load`` a checkpoint, ``run`` a plan, read ``results``. The command line is a thin layer over it."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import torch
from pydantic import ValidationError

from .downloads import Fetcher, Limits, TransferDisplay, offline_reason
from .engines.context import device_of
from .executors import KINDS, Kind, make_executor
from .executors.cluster import Cluster, read_cluster
from .executors.estimate import Estimator
from .executors.packing import arranged
from .executors.slurm import SlurmSettings
from .executors.submission import check_slurm
from .failures import RETRIES
from .finetune.midrun import EVERY_SECONDS
from .loading import Backbone, find_entry, load_entry
from .logs import check_logger
from .plan import OVERWRITE, Overwrite, Places, Plan, Selection, make_plan
from .progress import tell
from .registry import Registry, load_registry
from .resources import cache_dir as default_cache
from .resources import datasets_dir
from .runner import Emit, Event, RunOptions
from .schema import CheckpointError, InputError, Numerics, PlanFile, RunRecord, RunSpec, UnknownNameError
from .store import Store, frame, read_results
from .store.plans import write_plan
from .supplies import Supplies, fetch_command, fetch_missing
from .turns import lacks_weights

if TYPE_CHECKING:
    import pandas as pd

    from .executors.base import Executor

T = TypeVar("T")
OneOrMore: TypeAlias = T | Sequence[T] | None


@dataclass(frozen=True)
class Request:
    """Everything a run is asked for: what, with which files, where, and how.

    ``executor`` None is ``inline`` for one job and ``local`` for more. ``cluster`` is Slurm's; without ``wait``, a plan
    is submitted and not waited for.
    """

    selection: Selection = field(default_factory=Selection)
    registry_files: Sequence[Path] = ()
    tasks_dirs: Sequence[Path] = ()
    results: Path = Path("runs")
    data_dir: Path | None = None
    cache_dir: Path = field(default_factory=default_cache)
    numerics: Numerics = field(default_factory=Numerics)
    jobs: int = 1
    executor: Kind | None = None
    cluster: Cluster | None = None
    wait: bool = True
    overwrite: Overwrite = "failed"
    save_weights: bool = False
    workers: int | None = None
    checkpoint_seconds: float = EVERY_SECONDS
    retries: int = RETRIES
    logger: str | None = None
    offline: bool = False
    command: str = "sparsebench run"

    @property
    def kind(self) -> Kind:
        """The executor that will run the plan."""
        return self.executor or ("inline" if self.jobs == 1 else "local")

    @property
    def asked_cluster(self) -> Cluster:
        """The options of Slurm's jobs, the numbers that follow from how runs compute filled in."""
        return (self.cluster or Cluster()).for_runs(self.numerics, self.workers or 0)

    def registry(self) -> Registry:
        """Return the built-in registry with the request's own files."""
        return load_registry(self.registry_files, self.tasks_dirs, self.data_dir)


@dataclass(frozen=True)
class Prepared:
    """A request, checked: its whole plan, and the part of it that is still to do.

    ``other_numerics`` counts the runs that are done, but with another device, precision, engine or thread count.
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
        Told what is being checked, a line at a time.
    dry_run : bool
        Fetch nothing: what is missing is an error.

    Raises
    ------
    InputError
        If anything asked for can't be used.
    """
    _check(request)
    registry = request.registry()
    store = Store(request.results)
    store.check_writable()
    places = Places(request.data_dir, request.cache_dir)
    with TransferDisplay() as display:
        forbidden = offline_reason(request.offline) or ("--dry-run" if dry_run else None)
        if forbidden is None and request.kind == "slurm":
            forbidden = "--executor slurm"
        supplies = make_supplies(request, display, forbidden=forbidden)
        plan = make_plan(request.selection, registry, request.numerics, places, note, supplies)
    records = {record.run_id: record for record in store.read([run.run_id for run in plan.runs])}
    statuses = {run_id: _status(record, request) for run_id, record in records.items()}
    todo = plan.remaining(statuses, request.overwrite)
    left = {run.run_id for run in todo.runs}
    if request.kind == "slurm":
        check_slurm(request.asked_cluster, len(left))
    done = [records[run.run_id] for run in plan.runs if run.run_id not in left]
    planned = {run.run_id: run.numerics for run in plan.runs}
    return Prepared(request, plan, todo, sum(record.spec.numerics != planned[record.run_id] for record in done))


def make_supplies(
    request: Request, display: TransferDisplay, *, limits: Limits | None = None, forbidden: str | None = None
) -> Supplies:
    """Return what fetches a request's files: ``forbidden`` says what forbids it, if anything does."""
    return Supplies(
        data_dir=request.data_dir,
        cache_dir=request.cache_dir,
        fetcher=Fetcher(limits or Limits(), display.update, display.line),
        begin=display.begin,
        forbidden=forbidden,
        command=fetch_command(_options(request)),
    )


def _options(request: Request) -> list[tuple[str, Sequence[object]]]:
    """Return the options that select the same checkpoints and tasks."""
    selection = request.selection
    return [
        ("--suite", [selection.suite] if selection.suite != "mini" else []),
        ("--arch", selection.archs),
        ("--method", selection.methods),
        ("--variant", selection.variants),
        ("--sparsity", [f"{s:g}" for s in selection.sparsities]),
        ("--checkpoint", selection.checkpoints),
        ("--task", selection.tasks),
        ("--registry", request.registry_files),
        ("--tasks-dir", request.tasks_dirs),
        ("--data", [request.data_dir] if request.data_dir else []),
    ]


def _status(record: RunRecord, request: Request) -> str:
    """Return a record's status; a finished run whose weights are asked for but weren't kept is still to do."""
    wanted = request.save_weights and request.overwrite != "never"
    return "without weights" if wanted and lacks_weights(record, request.results) else record.status


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
    options = RunOptions(
        results=request.results.resolve(),
        data_dir=(request.data_dir or datasets_dir()).resolve(),
        cache_dir=request.cache_dir and request.cache_dir.resolve(),  # None: no cache
        save_weights=request.save_weights,
        workers=request.workers,
        overwrite=request.overwrite,
        since=written.stat().st_mtime_ns,
        checkpoint_seconds=request.checkpoint_seconds,
        retries=request.retries,
        logger=request.logger,
    )
    failures: dict[str, RunRecord] = {}

    def relay(event: Event) -> None:
        if event.record is not None and event.record.status == "failed":
            failures[event.run_id] = event.record
        if emit is not None:
            emit(event)

    if prepared.todo.groups:
        before = torch.get_num_threads()
        try:
            _executor(request, written.stem).execute(_arranged(prepared.todo, request, store), options, relay)
        finally:
            torch.set_num_threads(before)
    planned = {run.run_id: run for run in prepared.plan.runs}
    records = {record.run_id: record for record in store.read(planned)}
    return [_labelled(record, planned[record.run_id]) for record in (records | failures).values()]


def _executor(request: Request, plan: str) -> Executor:
    threads = request.numerics.threads
    slurm = SlurmSettings(request.asked_cluster, plan, threads, request.wait, say=tell)
    return make_executor(request.kind, request.jobs, threads, slurm)


def _arranged(plan: Plan, request: Request, store: Store) -> Plan:
    """Return a plan in the order in which several workers are done first; one process keeps the plan's own."""
    if request.kind != "local":
        return plan
    return replace(plan, groups=tuple(arranged(plan.groups, Estimator(store.read()).group)))


def _labelled(record: RunRecord, planned: RunSpec) -> RunRecord:
    """Return a record under the plan's labels: it may have been made under another name for the same content."""
    return record.model_copy(update={"spec": planned.model_copy(update={"numerics": record.spec.numerics})})


def load(
    id_or_path: str | Path,
    arch: str | None = None,
    head: bool = False,
    *,
    registry: Path | None = None,
    offline: bool = False,
) -> Backbone:
    """Load a checkpoint, registered or a file of your own.

    Parameters
    ----------
    id_or_path : str or Path
        An id of ``sparsebench list checkpoints``, or a ``.pth`` or ``.safetensors`` file.
    arch : str, optional
        A file's timm or torchvision architecture; not needed where the file names its own.
    head : bool
        Keep the upstream head, so that the module gives logits instead of features.
    registry : Path, optional
        A YAML file with checkpoints of your own.
    offline : bool
        Fetch nothing; without it, a published checkpoint that isn't here is fetched.

    Returns
    -------
    Backbone
        ``.module`` (eval mode, CPU; ``(B, 3, H, W)`` to features ``(B, d)`` or logits), ``.masks`` (parameter name to
        bool tensor, True = kept), ``.preprocess`` and ``.info``.

    Raises
    ------
    UnknownNameError
        If it is neither a registered id nor a file.
    CheckpointError
        If the file is missing and can't be fetched, is damaged, refused, doesn't fit the architecture, or has no head
        where one is asked for.
    """
    name = str(id_or_path)
    entry = find_entry(name, load_registry([registry] if registry else []), arch)
    fetch_missing(entry, offline=offline)
    backbone = load_entry(entry, head=head)
    if head and backbone.info.num_classes is None:
        raise CheckpointError(f"{name} has no classifier", "load it without head=True")
    return backbone


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
    probe: OneOrMore[str] = None,
    emit: Emit | None = None,
    **options: Any,
) -> pd.DataFrame:
    """Run every selected cell that has not run yet, and return the records of all of them.

    Parameters
    ----------
    method, variant, sparsity, arch, checkpoint, task, mode, probe, seed : one or several, optional
        What to select; leaving one out means all that the suite selects. With a ``probe`` and no ``mode``, linear mode.
    suite : str
        The suite.
    results : path
        The results folder.
    emit : callable, optional
        Told as runs start, progress and end.
    **options
        How to compute: ``threads``, ``device``, ``precision``, ``engine``, ``channels_last``, ``compile``, ``decoder``;
        and the other fields of :class:`Request`: ``data_dir``, ``jobs``, ``executor``, ``cluster`` (a profile's path or
        its fields), ``wait``, ``overwrite``, ``save_weights``, ``offline``, ``registry_files``...

    Returns
    -------
    DataFrame
        One row a run, failed ones included; accuracies are fractions.

    Raises
    ------
    InputError
        If anything asked for can't be used; nothing has then been run.
    """
    selection = Selection(
        suite=suite,
        methods=_several(method),
        sparsities=_several(sparsity),
        variants=_several(variant),
        archs=_several(arch),
        checkpoints=[str(c) for c in _several(checkpoint)],
        tasks=[str(t) for t in _several(task)],
        modes=_several(mode),
        seeds=_several(seed),
        probes=_several(probe),
    )
    return frame(execute(prepare(_request(selection, Path(results), options)), emit))


def results(path: str | Path) -> pd.DataFrame:
    """Read a results folder or a curated file as one tidy table; the text ``published`` stands for the paper's results.

    Returns
    -------
    DataFrame
        One row a run (columns: ``sparsebench.store.COLUMNS``); accuracies are fractions.

    Raises
    ------
    ResultsError
        If there is nothing to read.
    """
    return read_results(path)


def reference_command(request: Request, reference: str) -> str:
    """Return the command that runs a reference checkpoint on the same tasks in the same modes, computed alike."""
    parts = ["sparsebench", "run", "--checkpoint", reference]
    for flag, values in (
        ("--task", request.selection.tasks),
        ("--mode", request.selection.modes),
        ("--probe", request.selection.probes),
        ("--seed", request.selection.seeds),
        ("--registry", request.registry_files),
        ("--tasks-dir", request.tasks_dirs),
    ):
        for value in values:
            parts += [flag, str(value)]
    if request.selection.suite != "mini":
        parts += ["--suite", request.selection.suite]
    if request.data_dir is not None:
        parts += ["--data", str(request.data_dir)]
    if request.results != Path("runs"):
        parts += ["--results", str(request.results)]
    default = Numerics()
    for name in ("device", "precision", "engine", "threads", "decoder"):
        if (value := getattr(request.numerics, name)) != getattr(default, name):
            parts += [f"--{name}", str(value)]
    parts += [] if request.numerics.channels_last else ["--no-channels-last"]
    parts += ["--compile"] if request.numerics.compile else []
    return shlex.join(parts)


def _request(selection: Selection, results: Path, options: dict[str, Any]) -> Request:
    """Return a request from keyword arguments, with paths and numerics given plainly."""
    known = [*Numerics.model_fields, *Request.__dataclass_fields__]
    for name in options:
        if name not in known:
            raise UnknownNameError("option", name, known)
    computed = {name: value for name, value in options.items() if name in Numerics.model_fields}
    others = {name: value for name, value in options.items() if name not in computed}
    for name in ("data_dir", "cache_dir"):
        if others.get(name) is not None:
            others[name] = Path(others[name])
    for name in ("registry_files", "tasks_dirs"):
        others[name] = [Path(path) for path in _several(others.get(name))]
    cluster = others.get("cluster")
    if isinstance(cluster, dict):
        others["cluster"] = read_cluster(None, **cluster)
    elif cluster is not None and not isinstance(cluster, Cluster):
        others["cluster"] = read_cluster(Path(cluster))
    if computed:
        fields = others.get("numerics", Numerics()).model_dump() | computed
        try:
            others["numerics"] = Numerics.model_validate(fields)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise InputError(f"{first['loc'][0]}={first['input']!r}: {first['msg']}", "correct the argument") from error
    return Request(selection=selection, results=results, **others)


def _several(value: Any) -> list[Any]:
    if value is None:
        return []
    if isinstance(value, (str, Path)) or not hasattr(value, "__iter__"):
        return [value]
    return list(value)


def _check(request: Request) -> None:
    """Check what is neither a name nor a file."""
    if not isinstance(request.jobs, int) or request.jobs < 1:
        raise InputError(f"--jobs {request.jobs!r} can't run anything", "give a whole number from 1 on")
    _check_executor(request)
    for sparsity in request.selection.sparsities:
        if isinstance(sparsity, bool) or not isinstance(sparsity, (int, float)) or not math.isfinite(sparsity):
            raise InputError(f"--sparsity {sparsity!r} is not a sparsity", "give a fraction such as 0.9")
    check_logger(request.logger)
    if not request.retries >= 0:
        raise InputError(f"--retries {request.retries!r} is not a number of tries", "give 0 or more")
    if not request.checkpoint_seconds > 0:
        raise InputError(f"--checkpoint-every {request.checkpoint_seconds!r} is no time", "give seconds above 0")
    if request.overwrite not in OVERWRITE:
        raise UnknownNameError("overwrite strategy", request.overwrite, OVERWRITE)
    if request.data_dir is not None and not request.data_dir.is_dir():
        raise InputError(f"--data {request.data_dir} is not a folder", "give the folder that data sets live in")
    for seed in request.selection.seeds:
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise InputError(f"--seed {seed!r} is not a seed", "seeds are whole numbers from 0 on")
    numerics = request.numerics
    elsewhere = request.kind == "slurm" and numerics.device.partition(":")[0] == "cuda"  # the nodes' GPUs, not ours
    if not elsewhere and device_of(numerics).type == "cpu" and numerics.precision == "fp16":
        raise InputError("precision fp16 needs a GPU", "use bf16 or fp32 on a CPU")


def _check_executor(request: Request) -> None:
    """Check that the options on where to run go together."""
    if request.executor is not None and request.executor not in KINDS:
        raise UnknownNameError("executor", request.executor, KINDS)
    if request.kind == "inline" and request.jobs > 1:
        raise InputError(f"--executor inline runs one at a time, not --jobs {request.jobs}", "use --executor local")
    if request.kind == "slurm" and request.jobs > 1:
        raise InputError(f"--jobs {request.jobs} is for workers of this machine", "with Slurm: --max-parallel N")
    if request.kind != "slurm" and request.cluster is not None:
        raise InputError("--cluster and the options of its jobs are for Slurm", "add --executor slurm")
    if request.kind != "slurm" and not request.wait:
        raise InputError("--no-wait is for Slurm", "add --executor slurm")
