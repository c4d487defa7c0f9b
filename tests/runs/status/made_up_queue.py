"""Submissions, claims and a queue of Slurm that are made up."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from made_up import record
from sparsebench.runs.status import Overview
from sparsebench.schema import Failure, RunRecord, RunSpec
from sparsebench.store import Claims, Store
from sparsebench.store.jobs import Element, JobArray, Submission, write_submission

SQUEUE = """#!/bin/sh
[ -e {folder}/deaf ] && {{ echo "slurm_load_jobs error: Unable to contact slurm controller" >&2; exit 1; }}
cat {folder}/queue
"""
SCANCEL = '#!/bin/sh\necho "$@" >> {folder}/cancelled\n[ ! -e {folder}/refuse ]\n'
NAME = "20260102T030405Z-aaaa0000"
CREATED = "2026-01-02T03:04:05+00:00"
BEFORE, AFTER = "2026-01-02T03:00:00+00:00", "2026-01-02T03:10:00+00:00"


def submit(
    results: Path, runs: Sequence[RunSpec], job: str = "70", name: str = NAME, each: int = 1, state: str = "submitted"
) -> Submission:
    """Write a submission of an array whose elements have ``each`` of the runs."""
    elements = tuple(
        Element(
            job_id=f"{job}_{k}",
            runs=tuple(run.record_key for run in runs[k * each : (k + 1) * each]),
            log=f"jobs/{name}/{job}_{k}_0_log.out",
        )
        for k in range(-(-len(runs) // each))
    )
    arrays = (JobArray(job_id=job, elements=elements),)
    made = Submission(submission=name, plan="p" * 16, created=CREATED, state=state, arrays=arrays)
    write_submission(results, made)
    return made


def queue(fake: Path, made: Submission, *jobs: str, state: str = "PENDING") -> None:
    """Put jobs of a submission into the queue."""
    with (fake / "queue").open("a") as file:
        file.writelines(f"{job}|{made.job_name}|{state}|array 0\n" for job in jobs)


def claim(results: Path, *runs: RunSpec, job: str | None = None, ago: float = 0.0, **changes: object) -> None:
    """Leave claims of runs, as the process that is described took them so many seconds ago."""
    claims = Claims(results)
    if job is not None:
        changes = {"host": "node", "machine": "another", "job": job} | changes
    for run in runs:
        held = claims.take(run.record_key)
        assert held is not None
        document = json.loads(held.content) | changes
        document["taken"] = (datetime.now(UTC) - timedelta(seconds=ago)).isoformat(timespec="seconds")
        held.path.write_text(json.dumps(document))


def failed(spec: RunSpec, started: str = AFTER) -> RunRecord:
    """Return the record of a run that failed."""
    failure = Failure(type="RunError", message="diverged")
    return record(spec, status="failed").model_copy(update={"failure": failure, "started": started})


def done(results: Path, *runs: RunSpec, **changes: object) -> None:
    """Write records of runs that are done."""
    for run in runs:
        Store(results).write(record(run).model_copy(update=changes))


def states(overview: Overview) -> dict[str, int]:
    """Return the states that runs are in, and how many in each; how many of the missing were lost, if any."""
    lost = sum(entry.kind == "lost" for entry in overview.trouble)
    found: dict[str, int] = {state: count for state, count in overview.counts.items() if count}
    return found | ({"lost": lost} if lost else {})
