"""What a run is asked for, checked, and as the options of a command line."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from .. import extensions
from ..common.paths import cache_dir as default_cache
from ..common.retry import CHECKPOINT_SECONDS, RETRIES
from ..downloads import offline_reason
from ..registry import Registry, load_registry
from ..registry.protocols import settings_texts
from ..registry.selection import Selection
from ..schema import InputError, Numerics, UnknownNameError
from .executors.cluster import Cluster, read_cluster
from .logs import check_logger
from .options import OVERWRITE, PREDICTIONS, Overwrite, PredictionKind
from .prefetch import IfMissing, Prefetch, fetch_command

if TYPE_CHECKING:
    from ..downloads import Fetcher, Limits, TransferDisplay


@dataclass(frozen=True)
class Request:
    """Everything a run is asked for: what, with which files, where, and how.

    ``executor`` None is ``inline`` for one job and ``local`` for more. ``cluster`` are the executor's own settings,
    Slurm's a :class:`~sparsebench.runs.executors.cluster.Cluster`; without ``wait``, a plan is submitted and not waited
    for.
    """

    selection: Selection = field(default_factory=Selection)
    registry_files: Sequence[Path] = ()
    tasks_dirs: Sequence[Path] = ()
    results: Path = Path("runs")
    data_dir: Path | None = None
    cache_dir: Path = field(default_factory=default_cache)
    numerics: Numerics = field(default_factory=Numerics)
    jobs: int = 1
    executor: str | None = None
    cluster: Any = None
    wait: bool = True
    overwrite: Overwrite = "failed"
    save_weights: bool = False
    save_heads: bool = True
    predictions: PredictionKind | None = None
    workers: int | None = None
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    retries: int = RETRIES
    logger: str | None = None
    offline: bool = False
    skip_missing: bool = False
    command: str = "sparsebench run"

    @property
    def where(self) -> extensions.Executor:
        """The executor that will run the plan."""
        name = self.executor or ("inline" if self.jobs == 1 else "local")
        declared: extensions.Executor = extensions.get("executors", name)
        return declared

    @property
    def offline_reason(self) -> str | None:
        """What forbids fetching: the request's own ``--offline``, or the environment; None if nothing does."""
        return offline_reason(self.offline)

    @property
    def executor_settings(self) -> Any:
        """The executor's own settings; of Slurm's jobs with the numbers that follow from how runs compute filled in."""
        if self.where.settings is None:
            return None
        given = self.where.settings() if self.cluster is None else self.cluster
        return given.for_runs(self.numerics, self.workers or 0) if isinstance(given, Cluster) else given

    def registry(self) -> Registry:
        """Return the built-in registry with the request's own files, which are read once."""
        return self._registry

    @cached_property
    def _registry(self) -> Registry:
        return load_registry(self.registry_files, self.tasks_dirs, self.data_dir)

    def prefetch(
        self,
        display: TransferDisplay,
        *,
        limits: Limits | None = None,
        forbidden: str | None = None,
        if_missing: IfMissing = "refuse",
    ) -> Prefetch:
        """Return what fetches the request's files: ``forbidden`` says what forbids it, if anything does."""

        def fetcher() -> Fetcher:
            from ..downloads import Fetcher, Limits

            return Fetcher(limits or Limits(), display.update, display.line)

        return Prefetch(
            data_dir=self.data_dir,
            cache_dir=self.cache_dir,
            fetcher=fetcher,
            begin=display.begin,
            forbidden=forbidden,
            command=fetch_command(options_of(self)),
            if_missing=if_missing,
        )


def with_files(request: Request) -> Request:
    """Return a request whose probes, engine, executor and format are names: Python files among them are loaded.

    Raises
    ------
    InputError
        If a file can't be run, or doesn't declare what it should.
    """
    selection = request.selection
    probes = [extensions.resolve("probes", name) for name in selection.probes]
    format = extensions.resolve("formats", selection.format)
    engine = extensions.resolve("engines", request.numerics.engine)
    executor = None if request.executor is None else extensions.resolve("executors", request.executor)
    return replace(
        request,
        selection=replace(selection, probes=probes, format=format),
        numerics=request.numerics.model_copy(update={"engine": engine}),
        executor=executor,
    )


def options_of(request: Request) -> list[tuple[str, Sequence[object]]]:
    """Return the options that select the same checkpoints and tasks."""
    selection = request.selection
    return [
        ("--suite", [selection.suite] if selection.suite != "mini" else []),
        ("--arch", selection.archs),
        ("--method", selection.methods),
        ("--variant", selection.variants),
        ("--replicate", selection.replicates),
        ("--sparsity", [f"{s:g}" for s in selection.sparsities]),
        ("--checkpoint", selection.checkpoints),
        ("--task", selection.tasks),
        ("--registry", request.registry_files),
        ("--tasks-dir", request.tasks_dirs),
        ("--data", [request.data_dir] if request.data_dir else []),
    ]


def reference_command(request: Request, reference: str) -> str:
    """Return the command that runs a reference checkpoint on the same tasks in the same modes, computed alike."""
    parts = ["sparsebench", "run", "--checkpoint", reference]
    for flag, values in (
        ("--task", request.selection.tasks),
        ("--mode", request.selection.modes),
        ("--probe", [extensions.given("probes", name) for name in request.selection.probes]),
        ("--seed", request.selection.seeds),
        ("--set", settings_texts(request.selection.settings)),
        ("--limit", [request.selection.limit] if request.selection.limit else []),
        ("--shift", request.selection.shifts),
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
            parts += [f"--{name}", extensions.given("engines", value) if name == "engine" else str(value)]
    parts += [] if request.numerics.channels_last else ["--no-channels-last"]
    parts += ["--compile"] if request.numerics.compile else []
    parts += ["--processes-per-run", str(request.numerics.processes)] if request.numerics.processes > 1 else []
    return shlex.join(parts)


def request_of(selection: Selection, results: Path, options: dict[str, Any]) -> Request:
    """Return a request from keyword arguments, with paths and numerics given plainly.

    Raises
    ------
    InputError
        If an argument isn't known, or can't be used.
    """
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
        others[name] = [Path(path) for path in several(others.get(name))]
    cluster = others.get("cluster")
    if isinstance(cluster, dict):
        others["cluster"] = read_cluster(None, others.get("executor"), **cluster)
    elif isinstance(cluster, (str, Path)):
        others["cluster"] = read_cluster(Path(cluster), others.get("executor"))
    for values in (computed, others):  # a Python file may be given as a path
        values |= {name: str(v) for name, v in values.items() if name in ("engine", "executor") and v is not None}
    if computed:
        fields = others.get("numerics", Numerics()).model_dump() | computed
        try:
            others["numerics"] = Numerics.model_validate(fields)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise InputError(f"{first['loc'][0]}={first['input']!r}: {first['msg']}", "correct the argument") from error
    return Request(selection=selection, results=results, **others)


def several(value: Any) -> list[Any]:
    """Return one or several things, or None, as a list."""
    if value is None:
        return []
    if isinstance(value, (str, Path)) or not hasattr(value, "__iter__"):
        return [value]
    return list(value)


def check_request(request: Request) -> None:
    """Check what is neither a name nor a file.

    Raises
    ------
    InputError
        If anything can't be used.
    """
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
    if request.predictions is not None and request.predictions not in PREDICTIONS:
        raise UnknownNameError("kind of predictions", request.predictions, PREDICTIONS)
    limit = request.selection.limit
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise InputError(f"--limit {limit!r} is no number of images", "give a whole number from 1 on")
    microbatch = request.selection.microbatch
    if microbatch is not None and not (isinstance(microbatch, int) and microbatch >= 2):
        raise InputError(f"--microbatch {microbatch!r} is no number of images", "give a whole number from 2 on")
    if request.data_dir is not None and not request.data_dir.is_dir():
        raise InputError(f"--data {request.data_dir} is not a folder", "give the folder that data sets live in")
    for seed in request.selection.seeds:
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise InputError(f"--seed {seed!r} is not a seed", "seeds are whole numbers from 0 on")


def _check_executor(request: Request) -> None:
    """Check that the options on where to run go together."""
    where = request.where
    if request.jobs > 1 and where.elsewhere:
        raise InputError(f"--jobs {request.jobs} is for workers of this machine", "with Slurm: --max-parallel N")
    if request.jobs > 1 and not where.parallel:
        raise InputError(
            f"--executor {where.name} runs one at a time, not --jobs {request.jobs}", "use --executor local"
        )
    if request.cluster is not None and where.settings is None:
        raise InputError("--cluster and the options of its jobs are for Slurm", "add --executor slurm")
    if not request.wait and not where.elsewhere:
        raise InputError("--no-wait is for Slurm", "add --executor slurm")
    if (missing := where.missing()) is not None:
        raise InputError(f"--executor {where.name} can't run here", missing)
