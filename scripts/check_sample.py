"""Run a sample of the curated cells again and compare: linear within 1 point, full within 3, as processors differ.

By default one linear seed of each checkpoint on two tasks and one full run; ``--cells N`` draws N cells, always the
same ones, ``--all`` takes them all. A cell whose run id is another one now (other weights, split, transform or
hyperparameters than the curated run had) is off whatever its accuracy.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sparsebench
from common import CURATED, run_script, shown
from sparsebench.registry import load_tasks
from sparsebench.report import by_content
from sparsebench.schema import Numerics, ResultsError, digest
from sparsebench.store import read_results

if TYPE_CHECKING:
    import pandas as pd

TOLERANCE = {"linear": 0.01, "full": 0.03}
TASKS = 2
LABEL = ["checkpoint", "task", "mode", "seed"]
SHARED = ["suite", "task", "mode", "probe", "protocol", "seed", "engine", "precision", "threads"]
"""What the cells of one call of ``sparsebench.run`` have in common."""


@dataclass(frozen=True)
class Outcome:
    """A cell, its accuracy then and now (fractions), and what is wrong where no accuracy can tell."""

    cell: str
    mode: str
    committed: float
    now: float = math.nan
    trouble: str = ""

    @property
    def off(self) -> bool:
        """Whether the cell has not been reproduced."""
        return bool(self.trouble) or not abs(self.now - self.committed) <= TOLERANCE[self.mode] + 1e-9


def candidates(table: pd.DataFrame) -> pd.DataFrame:
    """Return the runs that can be compared.

    Raises
    ------
    ResultsError
        If there is none.
    """
    runs = by_content(table[(table["status"] == "ok") & table["run_id"].notna()], load_tasks())
    if runs.empty:
        raise ResultsError("there is no finished run to compare with", "curate some: scripts/curate.py")
    return runs


def default_sample(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the lowest linear seed of each checkpoint on the first tasks, and a full run of the sparsest one."""
    import pandas as pd

    tasks = sorted(set(runs["task"]))[:TASKS]
    linear = runs[(runs["mode"] == "linear") & runs["task"].isin(tasks)].sort_values(LABEL)
    full = runs[runs["mode"] == "full"].sort_values(["sparsity", *LABEL], ascending=[False] + [True] * len(LABEL))
    return pd.concat([linear.drop_duplicates(["checkpoint", "task"]), full.head(1)])


def drawn_sample(runs: pd.DataFrame, count: int) -> pd.DataFrame:
    """Return ``count`` runs in the order of their labels' digests: a fixed draw that new runs hardly change."""
    order = [digest([str(value) for value in row]) for row in runs[LABEL].itertuples(index=False)]
    return runs.assign(_order=order).sort_values("_order").drop(columns="_order").head(count)


def run_again(sample: pd.DataFrame, results: Path) -> pd.DataFrame:
    """Run the cells of a sample, each with the numerics it was curated with (but on the CPU); return their records."""
    import pandas as pd

    tables = []
    for key, cells in sample.groupby(SHARED, dropna=False):
        shared: dict[str, Any] = dict(zip(SHARED, key, strict=True))
        tables.append(
            sparsebench.run(
                suite=shared["suite"],
                task=shared["task"],
                mode=shared["mode"],
                probe=None if pd.isna(shared["probe"]) else shared["probe"],
                seed=int(shared["seed"]),
                checkpoint=cells["checkpoint"].tolist(),
                numerics=Numerics(
                    engine=shared["engine"], precision=shared["precision"], threads=int(shared["threads"])
                ),
                results=results,
            )
        )
    return pd.concat(tables, ignore_index=True)


def compare(sample: pd.DataFrame, now: pd.DataFrame) -> list[Outcome]:
    """Return one outcome per cell of the sample."""
    again = {_key(row): row for row in now.to_dict("records")}
    outcomes = []
    for old in sample.sort_values(LABEL).to_dict("records"):
        cell = f"{old['checkpoint']} · {old['task']} · {old['mode']} · seed {old['seed']}"
        new = again.get(_key(old))
        accuracy, trouble = math.nan, ""
        if new is None:
            trouble = "did not run"
        elif new["status"] != "ok":
            trouble = f"failed: {new['error']}"
        else:
            accuracy = new["accuracy"]
            if new["run_id"] != old["run_id"]:
                trouble = f"is now run {new['run_id']}, was {old['run_id']}: curate it again"
        outcomes.append(Outcome(cell, old["mode"], old["accuracy"], accuracy, trouble))
    return outcomes


def _key(row: dict[Hashable, Any]) -> tuple[Any, ...]:
    """Return what distinguishes a cell from the others."""
    return (*(row[name] for name in LABEL), row["probe"] if isinstance(row["probe"], str) else "")


def render(outcomes: Sequence[Outcome]) -> str:
    """Return the comparison as a table, in percent."""
    rows: list[tuple[str, ...]] = [("CELL", "COMMITTED", "NOW", "DIFFERENCE", "")]
    for outcome in outcomes:
        verdict = f"off: {outcome.trouble}".rstrip(": ") if outcome.off else ""
        numbers = (outcome.committed, outcome.now)
        change = f"{100 * (outcome.now - outcome.committed):+.2f}"
        rows.append((outcome.cell, *(f"{100 * n:.2f}" for n in numbers), change, verdict))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = (
        "  ".join([row[0].ljust(widths[0]), *(row[i].rjust(widths[i]) for i in (1, 2, 3)), row[4]]).rstrip()
        for row in rows
    )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the sample again; 1 if a cell is off."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--runs", type=Path, default=CURATED, metavar="FILE", help="a curated CSV or a results folder")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--cells", type=int, metavar="N", help="draw N cells of any mode instead of the default sample")
    size.add_argument("--all", action="store_true", help="every cell")
    arguments = parser.parse_args(argv)
    if arguments.cells is not None and arguments.cells < 1:
        parser.error(f"--cells {arguments.cells} compares nothing; give 1 or more")
    runs = candidates(read_results(arguments.runs))
    if arguments.all:
        sample = runs
    elif arguments.cells is not None:
        sample = drawn_sample(runs, arguments.cells)
    else:
        sample = default_sample(runs)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        outcomes = compare(sample, run_again(sample, Path(folder) / "runs"))
    off = sum(outcome.off for outcome in outcomes)
    print(render(outcomes))
    print(f"{len(outcomes)} cells of {shown(arguments.runs)}, {off} off, {time.monotonic() - began:.0f} s")
    return 1 if off else 0


if __name__ == "__main__":
    sys.exit(run_script(main))
