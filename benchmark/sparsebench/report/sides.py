"""The runs on the two sides of a comparison: of checkpoints by id or glob, or of whole results folders."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from ..schema import ResultsError, UnknownNameError
from ..store import read_results
from ..store.frame import PUBLISHED

if TYPE_CHECKING:
    import pandas as pd

_HOW = ("mode", "probe", "protocol")


@dataclass(frozen=True)
class Wanted:
    """Which runs to compare; None takes what there is.

    Parameters
    ----------
    mode, probe, protocol : str, optional
        How they were run.
    tasks : collection of str, optional
        Ids or globs.
    replicate : int, optional
        Of the upstream training; by default all that there are.
    """

    mode: str | None = None
    probe: str | None = None
    protocol: str | None = None
    tasks: Collection[str] | None = None
    replicate: int | None = None


@dataclass(frozen=True, eq=False)
class Side:
    """One side of a comparison.

    Parameters
    ----------
    text : str
        What was asked for.
    results : Path or str
        Where its runs are.
    whole : bool
        Whether all checkpoints of the results were asked for.
    runs : DataFrame
        The tidy table of its finished runs, with the column ``entry``: the checkpoint without its replicate's ending.
    left_out : tuple of int
        Upstream replicates that aren't among its runs, as not all checkpoints of both sides have them.
    """

    text: str
    results: Path | str
    whole: bool
    runs: pd.DataFrame
    left_out: tuple[int, ...] = ()

    @property
    def entries(self) -> list[str]:
        """Its checkpoints, sorted, all replicates of one being one entry."""
        return sorted(set(self.runs["entry"]))


def read_sides(first: str, second: str, results: Path | str, wanted: Wanted) -> tuple[Side, Side]:
    """Return the runs of both sides that can be compared: run in one way, on the same tasks and images.

    A side is a results folder, a tidy CSV file or ``published`` (all its checkpoints), or else the id of a checkpoint
    or a glob, looked up in ``results``. Of two whole folders the checkpoints count that both have.

    Raises
    ------
    UnknownNameError
        If no checkpoint has the id, or none matches the glob.
    ResultsError
        If results can't be read, the sides share no task or way of running, or several of the latter.
    """
    tables: dict[str, pd.DataFrame] = {}
    sides = [_read(text, results, wanted, tables) for text in (first, second)]
    if sides[0].whole and sides[1].whole:
        common = set(sides[0].entries) & set(sides[1].entries)
        if not common:
            raise ResultsError(f"{first} and {second} have no checkpoint in common")
        sides = [_with(side, side.runs[side.runs["entry"].isin(common)]) for side in sides]
    if sides[0].results == sides[1].results and sides[0].entries == sides[1].entries:
        raise ResultsError(f"{first} and {second} are the same", "name two checkpoints, or two results folders")
    way = _one_way(sides)
    sides = [_with(side, side.runs[_ways(side.runs) == way]) for side in sides]
    tasks = set.intersection(*(_complete(side) for side in sides))
    if not tasks:
        raise ResultsError(f"{first} and {second} have no task that all their checkpoints ran")
    sides = [_with(side, once_per_seed(side.runs[side.runs["task"].isin(tasks)])) for side in sides]
    _check_tasks(sides)
    for side in sides:
        _check_networks(side)
    return sides[0], sides[1]


def _read(text: str, results: Path | str, wanted: Wanted, tables: dict[str, pd.DataFrame]) -> Side:
    whole = text == PUBLISHED or _exists(text)
    where = (text if text == PUBLISHED else Path(text)) if whole else results
    if str(where) not in tables:
        tables[str(where)] = finished(read_results(where))
    runs = tables[str(where)]
    if not whole:
        matching = [name for name in sorted(set(runs["entry"]) | set(runs["checkpoint"])) if fnmatchcase(name, text)]
        if not matching:
            raise UnknownNameError("checkpoint", text, runs["checkpoint"])
        by_entry = runs["entry"].isin(matching)
        # the name without a replicate's ending takes all replicates, the name with it that one alone
        if by_entry.any():
            runs = runs[by_entry]
        else:
            runs = runs[runs["checkpoint"].isin(matching)].assign(entry=lambda own: own["checkpoint"])
    for name in _HOW:
        value = getattr(wanted, name)
        if value is not None:
            runs = runs[runs[name] == value]
    if wanted.tasks is not None:
        runs = runs[[any(fnmatchcase(task, pattern) for pattern in wanted.tasks) for task in runs["task"]]]
    if wanted.replicate is not None:
        runs = runs[runs["replicate"] == wanted.replicate]
    if runs.empty:
        raise ResultsError(f"{text} has no finished run of this kind in {str(where)!r}", "see `sparsebench status`")
    return Side(text, where, whole, runs)


def _exists(text: str) -> bool:
    try:
        return Path(text).exists()
    except OSError:  # too long for a path
        return False


def finished(table: pd.DataFrame) -> pd.DataFrame:
    """Return the finished runs of a tidy table, with their ``entry``: the checkpoint without a replicate's ending."""
    runs = table[(table["status"] == "ok") & table["accuracy"].notna()].copy()
    runs["replicate"] = runs["replicate"].fillna(0)
    for name in (*_HOW, "split_sha256", "numerics"):
        runs[name] = runs[name].fillna("")
    endings = runs["replicate"].map(lambda r: f"_r{r}" if r else "")
    pairs = zip(runs["checkpoint"], endings, strict=True)
    runs["entry"] = [name.removesuffix(ending) if ending else name for name, ending in pairs]
    return runs


def of_common_replicates(first: Side, second: Side) -> tuple[Side, Side]:
    """Return sides without the replicates that not all their checkpoints have; as they are where none is common.

    A mean over several trainings and a single one differ in what they cover, and a replicate is compared with the
    network that it started from.
    """
    by_cell = [set(rows) for side in (first, second) for _, rows in side.runs.groupby(["entry", "task"])["replicate"]]
    common, every = set.intersection(*by_cell), set.union(*by_cell)
    if not common or common == every:
        return first, second
    left_out = tuple(sorted(int(number) for number in every - common))
    one, other = (_with(side, side.runs[side.runs["replicate"].isin(common)]) for side in (first, second))
    return replace(one, left_out=left_out), replace(other, left_out=left_out)


def _with(side: Side, runs: pd.DataFrame) -> Side:
    return Side(side.text, side.results, side.whole, runs.reset_index(drop=True))


def _ways(runs: pd.DataFrame) -> pd.Series:
    return runs[list(_HOW)].astype(str).agg("/".join, axis=1).str.replace("//", "/")  # full mode has no probe


def _one_way(sides: list[Side]) -> str:
    """Return the mode, probe and protocol that both sides were run in."""
    ways = [set(_ways(side.runs)) for side in sides]
    common = sorted(ways[0] & ways[1])
    if not common:
        raise ResultsError(
            f"{sides[0].text} and {sides[1].text} were run in different ways: "
            + " and ".join(", ".join(sorted(own)) for own in ways)
        )
    if len(common) > 1:
        raise ResultsError(
            f"{sides[0].text} and {sides[1].text} were both run in several ways: {', '.join(common)}",
            "choose one with --mode, --probe or --protocol",
        )
    return common[0]


def _complete(side: Side) -> set[str]:
    """Return the tasks that all the side's entries ran."""
    count = side.runs.groupby("task")["entry"].nunique()
    return {str(task) for task in count[count == len(side.entries)].index}


def once_per_seed(runs: pd.DataFrame) -> pd.DataFrame:
    """Return each replicate and seed of an entry on a task once: of several runs the one in the commonest way."""
    common = runs.groupby("numerics")["numerics"].transform("size")
    order = runs.assign(_common=common).sort_values(
        ["_common", "numerics", "run_id"], ascending=[False, True, True], kind="stable"
    )
    kept = order.drop_duplicates(["entry", "replicate", "task", "seed"], keep="first")
    return kept.sort_index().drop(columns="_common").reset_index(drop=True)


def _check_networks(side: Side) -> None:
    """Raise an error where one name is that of several networks."""
    for (entry, replicate), rows in side.runs.groupby(["entry", "replicate"]):
        if rows["weights_sha256"].nunique() > 1:
            raise ResultsError(
                f"{entry} (replicate {replicate}) stands for {rows['weights_sha256'].nunique()} different networks",
                "keep their runs in results folders of their own",
            )


def _check_tasks(sides: list[Side]) -> None:
    """Raise an error where the runs on a task differ in test images or metric."""
    for name, what in (("split_sha256", "on different splits"), ("metric", "by different metrics")):
        values: dict[str, set[str]] = {}
        for side in sides:
            for task, value in zip(side.runs["task"], side.runs[name], strict=True):
                if value:
                    values.setdefault(task, set()).add(value)
        for task, found in sorted(values.items()):
            if len(found) > 1:
                raise ResultsError(
                    f"the runs of {sides[0].text} and {sides[1].text} on {task} were scored {what}",
                    "leave the task out with --tasks, or run it again",
                )
