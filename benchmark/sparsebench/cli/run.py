"""``sparsebench run``: plan, run, and show the table."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from .. import extensions
from ..common.progress import listening
from ..common.timings import STARTED
from ..engines.memory import keep_pages
from .options.cluster import cluster_of

if TYPE_CHECKING:
    from ..api.running import Prepared
    from ..registry.selection import Selection
    from ..report.profile import Machine
    from ..runs.request import Request
    from ..runs.runner import Event
    from ..schema import RunRecord

_SHOWN_FAILURES = 5


def main(arguments: argparse.Namespace) -> int:
    """Run what was selected; 1 if a run of the plan has failed."""
    keep_pages()
    from ..api.running import execute, prepare

    request = make_request(arguments)
    note = (lambda text: print(text, file=sys.stderr)) if len(request.selection.checkpoints) > 4 else None
    with listening(lambda text: print(text, file=sys.stderr, flush=True)):
        prepared = prepare(request, note, dry_run=arguments.dry_run)
    request = prepared.request
    runs, todo = prepared.plan.runs, prepared.todo.runs
    if arguments.dry_run:
        from .plan_table import plan_json, render_plan

        print(plan_json(prepared) if arguments.json else render_plan(prepared, _at_once(request, len(todo))))
        return 0
    for need in prepared.plan.missing:
        print(f"left out: {need.line}", file=sys.stderr)
    done = len(runs) - len(todo)
    print(
        f"{len(runs)} runs: {done} done before, {len(todo)} to do; records in {request.results}",
        file=sys.stderr,
    )
    if prepared.other_numerics:
        print(
            f"note: {prepared.other_numerics} of the runs to do are done, but were computed otherwise (device,"
            " precision, engine, threads or decoder); both records are kept",
            file=sys.stderr,
        )
    records, started = _executed(prepared) if todo else (execute(prepared), None)
    if not request.wait:
        if request.where.hints is not None:
            print(extensions.load(request.where.hints)(request.results), file=sys.stderr)
        return 0
    from .closing import closing_table

    shown = closing_table(prepared, records, as_json=arguments.json)
    if request.selection.shifts:
        from .shift import with_shift

        shown = with_shift(shown, prepared, records, as_json=arguments.json)
    print(shown)
    if arguments.profile and not arguments.json:
        from ..report import render_profile

        now = {run.record_key for run in todo}
        timed = [record for record in records if record.record_key in now]
        print("\n" + render_profile(timed, request.workers, request.jobs, started, _machine()))
    failed = [record for record in records if record.status == "failed"]
    for record in failed[:_SHOWN_FAILURES]:
        from .display import outcome

        print(outcome(record), file=sys.stderr)
    if len(failed) > _SHOWN_FAILURES:
        print(f"... and {len(failed) - _SHOWN_FAILURES} more; see sparsebench status", file=sys.stderr)
    if failed:
        print(f"error: {len(failed)} of {len(runs)} runs failed; the same command runs them again", file=sys.stderr)
    lost = len(runs) - len(records)
    if lost:
        print(
            f"error: {lost} of {len(runs)} runs have no record: their jobs ended without one (logs:"
            f" {request.results / 'jobs'}); the same command runs them again",
            file=sys.stderr,
        )
    return 1 if failed or lost else 0


def _executed(prepared: Prepared) -> tuple[list[RunRecord], float | None]:
    """Run what is to do, and show how far it is; return the records, and the seconds until the first run began."""
    from ..api.running import execute
    from .display import RunDisplay

    todo = prepared.todo.runs
    began: list[float] = []
    with RunDisplay(todo, _at_once(prepared.request, len(todo))) as display, listening(display.line):

        def emit(event: Event) -> None:
            if not began:
                began.append(time.perf_counter() - STARTED)
            display.emit(event)

        return execute(prepared, emit), began[0] if began else None


def _machine() -> Machine:
    """Return what the machine could still give."""
    from ..report.profile import Machine

    torch = sys.modules.get("torch")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Machine(cores, torch is not None and bool(torch.cuda.is_available()))


def _at_once(request: Request, runs: int) -> int:
    """Return how many runs are computed at a time."""
    if not request.where.elsewhere:
        return request.jobs
    return max(1, min(getattr(request.executor_settings, "max_parallel", None) or runs, runs))


def make_request(arguments: argparse.Namespace) -> Request:
    """Return the request that the arguments make."""
    from ..runs.request import Request
    from ..schema import Numerics

    numerics = Numerics(
        device=arguments.device,
        precision=arguments.precision,
        engine=arguments.engine,
        threads=arguments.threads,
        channels_last=not arguments.no_channels_last,
        compile=arguments.compile,
        decoder=arguments.decoder,
        processes=arguments.processes_per_run,
    )
    given = {"checkpoint_seconds": arguments.checkpoint_every, "retries": arguments.retries}
    return Request(
        selection=make_selection(arguments),
        registry_files=arguments.registry,
        tasks_dirs=arguments.tasks_dir,
        results=arguments.results,
        data_dir=arguments.data,
        numerics=numerics,
        jobs=arguments.jobs,
        executor=arguments.executor,
        cluster=cluster_of(arguments),
        wait=not arguments.no_wait,
        overwrite=arguments.overwrite,
        save_weights=arguments.save_weights,
        save_heads=not arguments.no_heads,
        predictions=arguments.predictions,
        workers=arguments.workers,
        logger=arguments.logger,
        offline=arguments.offline,
        skip_missing=arguments.skip_missing,
        **{name: value for name, value in given.items() if value is not None},
        command=shlex.join(["sparsebench", *map(_portable, sys.argv[1:])]),
    )


def make_selection(arguments: argparse.Namespace) -> Selection:
    """Return the selection that the arguments make."""
    from ..registry.protocols import parse_settings
    from ..registry.selection import Selection

    return Selection(
        suite=arguments.suite,
        methods=arguments.method,
        sparsities=arguments.sparsity,
        variants=arguments.variant,
        replicates=getattr(arguments, "replicate", ()),
        archs=arguments.arch,
        checkpoints=arguments.checkpoint,
        tasks=getattr(arguments, "task", ()),
        modes=getattr(arguments, "mode", ()),
        seeds=getattr(arguments, "seed", ()),
        probes=getattr(arguments, "probe", ()),
        microbatch=getattr(arguments, "microbatch", None),
        format=getattr(arguments, "format", "auto"),
        limit=getattr(arguments, "limit", None),
        shifts=getattr(arguments, "shift", ()),
        settings=parse_settings(getattr(arguments, "set", ())),
        references=not getattr(arguments, "no_reference", True),
    )


def _portable(argument: str) -> str:
    """Return an argument with an absolute path shortened to its name."""
    flag, equals, value = argument.rpartition("=") if argument.startswith("--") else ("", "", argument)
    return flag + equals + (Path(value).name if Path(value).is_absolute() else value)
