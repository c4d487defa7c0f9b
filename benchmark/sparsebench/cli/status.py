"""``sparsebench status``: what is done, failed and missing in a results folder."""

from __future__ import annotations

import argparse

from ..schema import ResultsError, RunSpec
from ..store import Store
from ..store.plans import read_plans
from .listing import columns

_SHOWN = 10


def main(arguments: argparse.Namespace) -> int:
    """Compare the plans of a results folder with its records; 1 if a run has failed."""
    store = Store(arguments.results)
    if not arguments.results.is_dir():
        raise ResultsError(f"there is no results folder {str(arguments.results)!r}", "name it with --results")
    records = {record.run_id: record for record in store.read()}
    planned: dict[str, RunSpec] = {}
    for plan in read_plans(store.plans_dir):
        planned |= {run.run_id: run for group in plan.groups for run in group.runs}
    specs = planned | {key: record.spec for key, record in records.items()}
    rows = [["CHECKPOINT", "TASK", "MODE", "DONE", "FAILED", "MISSING"]]
    cells: dict[tuple[str, str, str], list[int]] = {}
    for run_id, spec in specs.items():
        counts = cells.setdefault((spec.checkpoint, spec.task, spec.mode), [0, 0, 0])
        state = records[run_id].status if run_id in records else "missing"
        counts[("ok", "failed", "missing").index(state)] += 1
    rows += [[*cell, *map(str, counts)] for cell, counts in sorted(cells.items())]
    done, failed, missing = (sum(counts[i] for counts in cells.values()) for i in range(3))
    if cells:
        print(columns(rows))
    print(f"{done} done, {failed} failed, {missing} missing of {len(specs)} runs in {arguments.results}")
    failures = [record for record in records.values() if record.status == "failed"]
    for record in failures[:_SHOWN]:
        spec = record.spec
        what = record.failure.message.splitlines()[0] if record.failure and record.failure.message else "?"
        print(f"failed: {spec.checkpoint} · {spec.task} · {spec.mode} · seed {spec.seed}: {what}")
        print(f"        {store.path_of(record)}")
    if len(failures) > _SHOWN:
        print(f"... and {len(failures) - _SHOWN} more failures")
    return 1 if failures else 0
