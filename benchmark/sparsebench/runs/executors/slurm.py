"""Run a plan as arrays of jobs of a Slurm cluster, and watch until it has ended.

The jobs need nothing of the command that submitted them: what they run, and which of them holds which run, is on disk.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Sequence, Set
from pathlib import Path

from pydantic import ValidationError

from ...common.files import identity, read_regular
from ...extensions import ExecutorContext
from ...schema import RunError, RunRecord, RunSpec
from ...store import Store
from ..options import RunOptions
from ..plan import Plan
from ..runner import Emit, Event
from .estimate import Estimator
from .packing import Limits, arrays, bundles, duration
from .queued import ask, queued_runs, settle, wait_for_earlier
from .submission import drop_submission, open_submission, submit

_POLL_SECONDS = (1.0, 15.0)  # at first and after some minutes
_LOST_SECONDS = 10.0
"""A run whose job has left the queue is lost if its record doesn't appear within so many seconds."""


class SlurmExecutor:
    """Runs groups as jobs of a Slurm cluster; the context's settings are a :class:`~.cluster.Cluster`."""

    def __init__(self, context: ExecutorContext) -> None:
        self._context = context

    def execute(self, plan: Plan, options: RunOptions, emit: Emit) -> None:
        """Submit the groups of ``plan`` that no job holds yet; wait for their records if the context says so.

        An interrupt ends the waiting alone: the jobs go on.
        """
        watch = _Watch(plan.runs, options.results, emit, self._context.say)
        self._submit(plan, options, watch)
        if not self._context.wait:
            return
        try:
            watch.until_done()
        except KeyboardInterrupt:
            self._context.say(hints(options.results))
            raise

    def _submit(self, plan: Plan, options: RunOptions, watch: _Watch) -> None:
        say, cluster, results = self._context.say, self._context.settings, options.results
        submission = open_submission(results, self._context.plan, cluster)
        try:
            wait_for_earlier(results, submission)
            known = ask(results)
            settle(results, known)
            held = queued_runs(known)
            watch.collect()  # what others have done since the plan was made
            wanted = watch.waiting - held.keys()
            groups = [left for group in plan.groups if (left := group.only(wanted)) is not None]
        except BaseException:
            drop_submission(results, submission)
            raise
        here = sum(run.record_key in held for run in plan.runs)
        if here:
            say(f"{here} of {len(plan.runs)} runs are queued already")
        if not groups:
            drop_submission(results, submission)
            return
        limits = Limits(
            cluster.array_size, cluster.max_parallel, 60.0 * cluster.time_minutes, 60.0 * cluster.bundle_minutes
        )
        estimator = Estimator(Store(results).read())
        made = bundles(groups, estimator.group, limits)
        cut = arrays(made, limits)
        submit(submission, cut, options, cluster, self._context.threads)
        at_once = min(cluster.max_parallel or len(made), len(made))
        seconds = duration((bundle.seconds for bundle in made), at_once)
        ran = sum(len(group.runs) for group in groups)
        say(
            f"submitted {_count(ran, 'run')} in {_count(len(made), 'job')} ({_count(len(cut), 'array')}), up to"
            f" {at_once} at once: about {max(1, round(seconds / 60))} min of work once they start;"
            f" submission {submission.submission}"
        )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def hints(results: Path) -> str:
    """Return how to watch and cancel what was submitted."""
    where = shlex.quote(_shown(results))
    return (
        f"the jobs go on; watch them: sparsebench status --watch --results {where}\n"
        f"cancel them: sparsebench cancel --results {where}"
    )


def _shown(results: Path) -> str:
    try:
        return str(results.relative_to(Path.cwd()))
    except ValueError:
        return str(results)


class _Watch:
    """Waits for the records of runs; what it compares with is how the results folder is when it is made."""

    def __init__(self, runs: Sequence[RunSpec], results: Path, emit: Emit, say: Callable[[str], None]) -> None:
        self._results, self._emit, self._say = results, emit, say
        store = Store(results)
        self._paths = {spec.record_key: store.path_of(RunRecord(status="ok", spec=spec, started="")) for spec in runs}
        self._before = {key: identity(path) for key, path in self._paths.items()}
        self._gone: dict[str, float] = {}  # run to when its job was first seen to have left the queue

        self._deaf = False

    def until_done(self) -> None:
        """Wait until every run has a new record, or no job that could write it."""
        began = time.monotonic()
        while self._paths:
            held = self._ask()
            self.collect()
            if held is not None:
                self._give_up(held)
            if self._paths:
                first, last = _POLL_SECONDS
                time.sleep(min(last, first + (time.monotonic() - began) / 20))

    def _ask(self) -> dict[str, str] | None:
        """Return the runs that the queue holds; None if it can't be asked now."""
        try:
            found = queued_runs(ask(self._results))
        except RunError as error:
            if not self._deaf:
                self._say(f"{error}; waiting goes on")
            self._deaf = True
            return None
        self._deaf = False
        return found

    @property
    def waiting(self) -> Set[str]:
        """The keys of the runs whose records haven't come."""
        return self._paths.keys()

    def collect(self) -> None:
        """Report the records that have come."""
        for folder in {path.parent for path in self._paths.values()}:
            _look_into(folder)
        for key, path in list(self._paths.items()):
            if identity(path) == self._before[key]:
                continue
            try:
                record = RunRecord.model_validate_json(read_regular(path))
            except (OSError, ValidationError):  # being replaced, or damaged: the next one counts
                continue
            del self._paths[key]
            self._emit(Event("done", key, record=record))

    def _give_up(self, held: dict[str, str]) -> None:
        """Forget the runs that no job holds any more."""
        now = time.monotonic()
        for key in list(self._paths):
            if key in held:
                self._gone.pop(key, None)
            elif now - self._gone.setdefault(key, now) >= _LOST_SECONDS:
                del self._paths[key]


def _look_into(folder: Path) -> None:
    """List a folder, so that a network file system asks its server what is there now."""
    try:
        with os.scandir(folder) as entries:
            next(entries, None)
    except OSError:
        return
