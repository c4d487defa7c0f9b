"""What is to be run: runs with stable ids in groups, and which of them are still to do."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from ..schema import Checkpoint, Group, Numerics, Protocol, RunSpec, Task
from .options import Overwrite
from .prefetch import Missing


@dataclass(frozen=True)
class Cell:
    """A checkpoint on a task in a mode, of which something is missing, so that the ids of its runs can't be known."""

    checkpoint: Checkpoint
    task: Task
    protocol: Protocol
    seeds: tuple[int, ...]
    missing: tuple[Missing, ...]


@dataclass(frozen=True)
class Plan:
    """The runs of a selection, grouped by checkpoint, task and mode.

    ``missing`` is what is not here, where a plan is made nevertheless, and ``unknown`` the cells that need it.
    """

    groups: tuple[Group, ...]
    unknown: tuple[Cell, ...] = ()
    missing: tuple[Missing, ...] = ()

    @property
    def runs(self) -> list[RunSpec]:
        """All runs, in the order of the groups."""
        return [run for group in self.groups for run in group.runs]

    def remaining(self, statuses: dict[str, str], overwrite: Overwrite) -> Plan:
        """Return the plan without what is done; statuses are by record key.

        ``never`` keeps every record, ``failed`` runs failures again, ``always`` runs everything again.
        """
        done = {"never": {"ok", "failed"}, "failed": {"ok"}, "always": set()}[overwrite]
        wanted = {run.record_key for run in self.runs if statuses.get(run.record_key) not in done}
        return replace(self, groups=tuple(left for group in self.groups if (left := group.only(wanted)) is not None))

    def with_engines_of(self, done: Collection[RunSpec]) -> Plan:
        """Return the plan with the engine of each run that is done, whatever engine that was: for engine ``auto``."""
        found = {(spec.run_id, _but_engine(spec.numerics)): spec.numerics for spec in done}
        planned = {run.record_key for run in self.runs} & {spec.record_key for spec in done}
        groups = []
        for group in self.groups:
            runs = tuple(
                run
                if run.record_key in planned
                else run.model_copy(
                    update={"numerics": found.get((run.run_id, _but_engine(run.numerics)), run.numerics)}
                )
                for run in group.runs
            )
            groups.append(group.model_copy(update={"runs": runs}))
        return replace(self, groups=tuple(groups))


def _but_engine(numerics: Numerics) -> str:
    """Return the key of numerics whatever their engine."""
    return numerics.model_copy(update={"engine": "auto"}).key
