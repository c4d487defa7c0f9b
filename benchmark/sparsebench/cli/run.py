"""``sparsebench run``: plan, run, and show the table."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from .. import extensions
from ..common.progress import listening
from ..engines.memory import keep_pages
from .options.cluster import cluster_of

if TYPE_CHECKING:
    import pandas as pd

    from ..api import Prepared
    from ..registry.selection import Selection
    from ..runs.request import Request
    from ..store.classes import Reader

_SHOWN_FAILURES = 5


def main(arguments: argparse.Namespace) -> int:
    """Run what was selected; 1 if a run of the plan has failed."""
    keep_pages()
    from ..api import execute, prepare
    from ..store import frame
    from .display import RunDisplay, outcome

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
    with RunDisplay(todo, _at_once(request, len(todo))) as display, listening(display.line):
        records = execute(prepared, display.emit)
    if not request.wait:
        if request.where.hints is not None:
            print(extensions.load(request.where.hints)(request.results), file=sys.stderr)
        return 0
    print(closing_table(prepared, frame(records), as_json=arguments.json))
    if arguments.profile and not arguments.json:
        from ..report import render_profile

        now = {run.record_key for run in todo}
        timed = [record for record in records if record.record_key in now]
        print("\n" + render_profile(timed, request.workers, request.jobs))
    failed = [record for record in records if record.status == "failed"]
    for record in failed[:_SHOWN_FAILURES]:
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
        settings=parse_settings(getattr(arguments, "set", ())),
        references=not getattr(arguments, "no_reference", True),
    )


def _portable(argument: str) -> str:
    """Return an argument with an absolute path shortened to its name."""
    flag, equals, value = argument.rpartition("=") if argument.startswith("--") else ("", "", argument)
    return flag + equals + (Path(value).name if Path(value).is_absolute() else value)


def closing_table(prepared: Prepared, table: pd.DataFrame, *, as_json: bool = False) -> str:
    """Return the closing table of the plan's runs, with references that have run before, as text or JSON."""
    import pandas as pd

    from ..report.terminal import closing_rows, render_terminal
    from ..runs.request import reference_command
    from ..schema import ResultsError
    from ..store import gather
    from ..store.classes import classes_reader

    keys = set(table["record_key"])
    stored = gather(prepared.request.results)
    everything = pd.concat([table, stored[~stored["record_key"].isin(keys)]])
    everything = everything.reset_index(drop=True)
    registry, predictions = prepared.request.registry(), classes_reader(prepared.request.results)

    def shown(kept: Reader | None) -> str:
        if as_json:
            rows = closing_rows(everything, keys=keys, registry=registry, predictions=kept)
            return json.dumps(rows, indent=1, ensure_ascii=False)
        return render_terminal(
            everything,
            keys=keys,
            commands=lambda reference: reference_command(prepared.request, reference),
            colour=sys.stdout.isatty(),
            registry=registry,
            predictions=kept,
        )

    try:
        return shown(predictions)
    except ResultsError as error:  # the runs are done: a damaged file of another doesn't take their table away
        warnings.warn(f"{error.message}; intervals don't cover test images", stacklevel=2)
        return shown(None)
