"""What entries are compared with: the runs of their references, on the tasks that both ran in the same way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .cells import GROUP, Cell, Key, key_of, text_of
from .intervals import Entry, Run

if TYPE_CHECKING:
    import pandas as pd


class References:
    """Finds what entries are compared with."""

    def __init__(self, runs: pd.DataFrame, table: dict[Key, dict[str, Cell]]) -> None:
        self._table = table
        self._named: dict[tuple[Key, str], str] = {}  # group and checkpoint to reference
        self._entry: dict[tuple[Key, str], str] = {}  # group and checkpoint to entry
        names = [*GROUP, "checkpoint", "entry", "reference"]
        for *group, checkpoint, entry, reference in runs[names].drop_duplicates().itertuples(index=False, name=None):
            at = (key_of(group), str(checkpoint))
            self._entry[at] = str(entry)
            if text_of(reference):
                self._named[at] = reference

    def compared(self, key: Key, labels: dict[str, Any], cells: dict[str, Cell], tasks: list[str]) -> Entry:
        """Return an entry with its reference's runs, on the tasks that both ran in the same way."""
        group, name = key[:-1], key[-1]
        done = {task: cell for task, cell in cells.items() if cell.accuracy.n}
        complete = set(done) == set(tasks)
        if labels["method"] == "dense" and not (labels["reference"] or labels["twin_of"]):
            own = {task: cell.runs for task, cell in done.items()}
            return _entry(name, own, own, done, complete)
        pairs = {task: self._pairs(group, task, cell) for task, cell in done.items()}
        pairs = {task: pair for task, pair in pairs.items() if all(pair)}
        own, other = ({task: pair[side] for task, pair in pairs.items()} for side in (0, 1))
        return _entry(name, own, other, done, complete)

    def _pairs(self, group: Key, task: str, cell: Cell) -> tuple[tuple[Run, ...], tuple[Run, ...]]:
        """Return those of a cell's runs whose reference ran, and its runs."""
        own: list[Run] = []
        other: dict[Run, None] = {}
        for checkpoint in dict.fromkeys(run.checkpoint for run in cell.runs):
            reference = self._named.get((group, checkpoint))
            found = self._runs(group, reference, task, cell) if reference else ()
            if found:
                own += [run for run in cell.runs if run.checkpoint == checkpoint]
                other |= dict.fromkeys(found)
        return tuple(own), tuple(other)

    def _runs(self, group: Key, reference: str, task: str, cell: Cell) -> tuple[Run, ...]:
        """Return a reference's runs of a task under the same mode, probe and protocol, of its own group first."""
        same = sorted(at for at, name in self._entry if name == reference and at[2:5] == group[2:5])
        for other in sorted(same, key=lambda at: at[:2] != group[:2]):
            theirs = self._table[(*other, self._entry[other, reference])].get(task)
            runs = () if theirs is None else tuple(run for run in theirs.runs if run.checkpoint == reference)
            if runs and theirs is not None:
                alike = (theirs.split, theirs.protocol) == (cell.split, cell.protocol)
                return runs if alike else ()
        return ()


def _entry(
    name: str,
    own: dict[str, tuple[Run, ...]],
    other: dict[str, tuple[Run, ...]],
    done: dict[str, Cell],
    complete: bool,
) -> Entry:
    sizes = {task: cell.n_test for task, cell in done.items() if cell.n_test is not None}
    return Entry(name, own, other, {task: done[task].metric for task in own}, sizes, complete)
