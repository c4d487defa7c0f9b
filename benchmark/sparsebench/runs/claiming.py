"""Who does which run: what is done already is left, the rest is claimed, what others hold is waited for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..common.progress import notify
from ..common.retry import wait
from ..schema import PlannedSet, ResultsError, RunError, RunRecord, RunSpec
from ..store import Claims, Found, Held, Store
from .options import Overwrite

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0


@dataclass(frozen=True)
class Taken:
    """What became of some runs: ``done`` by whomever, ``mine`` to do now, ``refused`` by the disk, ``left`` for later.

    ``moved`` says whether anything but waiting remains to be done at once.
    """

    done: tuple[RunRecord, ...]
    mine: tuple[tuple[RunSpec, Held], ...]
    refused: tuple[tuple[RunSpec, RunError], ...]
    left: tuple[RunSpec, ...]

    @property
    def moved(self) -> bool:
        """Whether there was anything else than runs that other processes hold."""
        return bool(self.done or self.mine or self.refused)


class Claiming:
    """Takes the runs of a group in turns with whatever other processes work on the same results folder.

    Parameters
    ----------
    store : Store
        The results folder.
    claims : Claims
        This process's claims in it.
    overwrite : {'never', 'failed', 'always'}
        Which records are done again.
    since : int, optional
        When the command began, by the file system's clock: what was written from then on is not done again.
    save_weights : bool
        A finished run in full mode whose weights weren't kept is done again, unless ``overwrite`` is ``never``.
    tests : sequence of PlannedSet
        Further test sets: a finished run that wasn't scored on those that were asked for isn't done, likewise.
    label : str
        What people call the runs.
    """

    def __init__(
        self,
        store: Store,
        claims: Claims,
        overwrite: Overwrite,
        since: int | None = None,
        save_weights: bool = False,
        tests: Sequence[PlannedSet] = (),
        label: str = "",
    ) -> None:
        self._store, self._claims = store, claims
        self._overwrite, self._since = overwrite, since
        self._weights = save_weights and overwrite != "never"
        self._tests = () if overwrite == "never" else tests
        self._label = label
        self._pause, self._held = _FIRST_PAUSE, False

    def take(self, runs: Sequence[RunSpec], at_once: int) -> Taken:
        """Find out what is to be done about each of ``runs``, and claim up to ``at_once`` of them, the first ones.

        Where others held all of them the last time, this waits a little first.
        """
        if self._held:
            self._wait(len(runs))
        done: list[RunRecord] = []
        mine: list[tuple[RunSpec, Held]] = []
        refused: list[tuple[RunSpec, RunError]] = []
        left: list[RunSpec] = []
        for spec in runs:
            if len(mine) == at_once:
                left.append(spec)
                continue
            try:
                found = self._done(spec) or self._claim(spec)
            except (RunError, ResultsError) as error:
                refused.append((spec, error if isinstance(error, RunError) else RunError(error.message, error.hint)))
                continue
            if isinstance(found, RunRecord):
                done.append(found)
            elif found is not None:
                mine.append((spec, found))
            else:
                left.append(spec)
        taken = Taken(tuple(done), tuple(mine), tuple(refused), tuple(left))
        self._held = bool(left) and not taken.moved
        if taken.moved:
            self._pause = _FIRST_PAUSE
        return taken

    def _wait(self, count: int) -> None:
        """Wait a little for runs that others hold; longer from time to time, and said once."""
        if self._pause == _FIRST_PAUSE:
            notify(f"{self._label}: waiting for {count} run(s) that another process is doing")
        wait(self._pause)
        self._pause = min(self._pause * 1.5, _LONGEST_PAUSE)

    def _claim(self, spec: RunSpec) -> Held | RunRecord | None:
        """Claim a run; its record, if it has been done between looking and claiming; None if another holds it."""
        held = self._claims.take(spec.record_key)
        if held is None:
            return None
        try:
            record = self._done(spec)
        except BaseException:
            self._claims.release(held)
            raise
        if record is None:
            return held
        self._claims.release(held)
        return record

    def _done(self, spec: RunSpec) -> RunRecord | None:
        found = self._store.find(spec)
        return found.record if found is not None and self._stands(found) else None

    def _stands(self, found: Found) -> bool:
        """Return whether a record is good enough for the command."""
        if self._weights and lacks_weights(found.record, self._store.root):
            return False
        if lacking(found.record, self._tests):
            return False
        recent = self._since is not None and found.written_ns >= self._since
        return recent or self._overwrite == "never" or (self._overwrite == "failed" and found.record.status == "ok")


def lacking(record: RunRecord, tests: Sequence[PlannedSet]) -> list[PlannedSet]:
    """Return the test sets that were asked for and that a finished run hasn't been scored on."""
    if record.status != "ok":
        return []
    known = {(test.name, test.fingerprint) for test in record.tests.values()}
    return [test for test in tests if test.asked and (test.name, test.fingerprint) not in known]


def lacks_weights(record: RunRecord, results: Path) -> bool:
    """Return whether a finished run in full mode has no file of finetuned weights."""
    finished = record.status == "ok" and record.spec.mode == "full"
    return finished and not (results / (record.weights_file or "?")).is_file()
