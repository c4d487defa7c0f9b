"""Put arrays of jobs into Slurm's queue, through submitit, so that everything they need is on disk before they start.

Below ``jobs/`` of a results folder, ``<submission>.json`` says which jobs hold which runs (see
:mod:`sparsebench.store.jobs`), and ``<submission>/`` holds what the jobs read and print: ``<array>.json`` are an
array's groups, ``<array>.pkl`` is what its jobs run.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ...common import files
from ...schema import InputError, RunError
from ...schema.base import SCHEMA_VERSION
from ...store.jobs import Element, JobArray, Submission, is_cancelled, jobs_dir, write_submission
from ..jobs import job_document
from ..options import RunOptions
from .cancelling import cancel_jobs
from .cluster import Cluster
from .packing import Array
from .slurm_job import ArrayJob

_TIMEOUT = 60.0


def check_slurm(cluster: Cluster, jobs: int) -> None:
    """Check that Slurm is here and would take such jobs; nothing is submitted.

    Parameters
    ----------
    cluster : Cluster
        The options of the jobs.
    jobs : int
        How many jobs there will be at most.

    Raises
    ------
    InputError
        If Slurm, or submitit, isn't here, or Slurm refuses the options.
    """
    last = min(cluster.array_size, max(jobs, 1)) - 1
    command = ["sbatch", "--test-only", *_flags(cluster.sbatch_options()), *([f"--array=0-{last}"] if last else [])]
    try:
        done = subprocess.run(  # noqa: S603 - no shell; the options are the user's own
            [*command, "--wrap=true"], capture_output=True, text=True, timeout=_TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f"sbatch doesn't answer: {error}", "try again when the cluster's controller is up") from error
    if done.returncode != 0:
        said = [line.removeprefix("sbatch: error: ").strip() for line in done.stderr.splitlines() if line.strip()]
        raise InputError(
            f"Slurm refuses such jobs: {said[-1] if said else 'no reason given'}",
            f"correct --cluster or its flags; asked for: {' '.join(command[2:])}",
        )


def _flags(options: dict[str, Any]) -> list[str]:
    return [
        f"--{name}" if value is True else f"--{name}={value}" for name, value in options.items() if value is not False
    ]


def open_submission(results: Path, plan: str, cluster: Cluster) -> Submission:
    """Write the first state of a new submission, under a name that no other has.

    Parameters
    ----------
    results : Path
        The results folder.
    plan : str
        Name of the plan's file.
    cluster : Cluster
        The options of the jobs.

    Raises
    ------
    RunError
        If it can't be written.
    """
    while True:
        now = datetime.now(UTC)
        name = f"{now:%Y%m%dT%H%M%SZ}-{plan[:8]}"
        try:
            (jobs_dir(results) / name).mkdir(parents=True)
        except FileExistsError:  # another command has submitted the plan in this second
            time.sleep(0.2)
            continue
        except OSError as error:
            raise RunError(
                f"can't write into {str(jobs_dir(results))!r}: {error.strerror}", "free space there"
            ) from error
        submission = Submission(
            submission=name,
            plan=plan,
            created=now.isoformat(timespec="seconds"),
            host=socket.gethostname(),
            pid=os.getpid(),
            state="submitting",
            cluster=cluster.model_dump(mode="json"),
        )
        write_submission(results, submission)
        return submission


def drop_submission(results: Path, submission: Submission) -> None:
    """Remove a submission that has submitted nothing."""
    shutil.rmtree(jobs_dir(results) / submission.submission, ignore_errors=True)
    (jobs_dir(results) / f"{submission.submission}.json").unlink(missing_ok=True)


def submit(
    submission: Submission, arrays: Sequence[Array], options: RunOptions, cluster: Cluster, threads: int
) -> Submission:
    """Submit arrays, writing down after each which jobs hold which runs.

    Parameters
    ----------
    submission : Submission
        As :func:`open_submission` wrote it.
    arrays : sequence of Array
        What to run.
    options : RunOptions
        Where the jobs read and write; ``results`` is the results folder.
    cluster : Cluster
        The options of the jobs.
    threads : int
        Threads of a run.

    Returns
    -------
    Submission
        With all its jobs.

    Raises
    ------
    RunError
        If Slurm refuses an array; those before it stay submitted, and the submission says so. If it is cancelled while
        it goes on: nothing of it stays submitted.
    """
    results = options.results
    folder = (jobs_dir(results) / submission.submission).resolve()
    for number, array in enumerate(arrays):
        _write_array(folder, number, array, options, cluster)
    for number, array in enumerate(arrays):
        after = None if array.after is None else submission.arrays[array.after].job_id
        try:
            ids = _submit_array(folder, number, array, submission.job_name, after, cluster, threads)
        except Exception as error:  # submitit wraps what sbatch says in errors of several kinds
            state = "cancelled" if is_cancelled(results, submission) else "submitted"
            submission = submission.model_copy(update={"state": state})
            write_submission(results, submission)
            taken, all_ = len(submission.elements), sum(len(a.bundles) for a in arrays)
            raise RunError(
                f"Slurm took {taken} of {all_} jobs: {_reason(error)}",
                "the same command submits what is missing, when there is room",
            ) from error
        elements = tuple(
            Element(
                job_id=job_id,
                runs=tuple(run.record_key for group in bundle.groups for run in group.runs),
                log=f"jobs/{submission.submission}/{job_id}_0_log.out",
            )
            for job_id, bundle in zip(ids, array.bundles, strict=True)
        )
        made = JobArray(job_id=ids[0].partition("_")[0], elements=elements)
        last = number == len(arrays) - 1
        cancelled = is_cancelled(results, submission)
        state = "cancelled" if cancelled else "submitted" if last else "submitting"
        submission = submission.model_copy(update={"arrays": (*submission.arrays, made), "state": state})
        write_submission(results, submission)
        if cancelled:
            cancel_jobs(ids, submission.job_name)
            raise RunError(f"the submission {submission.submission} was cancelled meanwhile", "submit it again")
    return submission


def _write_array(folder: Path, number: int, array: Array, options: RunOptions, cluster: Cluster) -> None:
    from submitit.core.utils import DelayedSubmission

    elements = [job_document(bundle.groups, options) for bundle in array.bundles]
    document = {"schema_version": SCHEMA_VERSION, "elements": elements}
    delayed = DelayedSubmission(_job(folder, number, cluster))
    delayed.set_timeout(cluster.time_minutes, cluster.max_timeouts)
    try:
        files.write_text(folder / f"{number}.json", json.dumps(document) + "\n")
        delayed.dump(folder / f"{number}.pkl")
    except OSError as error:
        raise RunError(f"can't write into {str(folder)!r}: {error.strerror}", "free space there") from error


def _job(folder: Path, number: int, cluster: Cluster) -> ArrayJob:
    return ArrayJob(str(folder), number, max(1, cluster.warning_seconds * 2 // 3))


def _submit_array(
    folder: Path, number: int, array: Array, name: str, after: str | None, cluster: Cluster, threads: int
) -> list[str]:
    """Submit one array, and return the ids of its elements."""
    import submitit

    executor = submitit.SlurmExecutor(folder=folder, max_num_timeout=cluster.max_timeouts)
    asked = cluster.sbatch_options()
    executor.update_parameters(
        job_name=name,
        time=cluster.time_minutes,
        array_parallelism=array.parallel,
        signal_delay_s=cluster.warning_seconds,
        dependency=None if after is None else f"afterany:{after}",
        setup=[*cluster.setup, *_own_setup(folder, number, threads)],
        srun_args=[f"--cpus-per-task={asked.get('cpus-per-task', 1)}"],
        stderr_to_stdout=True,
        wckey=None,
        additional_parameters={
            "comment": f"array {number}",
            "requeue": True,
            **{name: value for name, value in asked.items() if value is not False},
        },
    )
    jobs = executor.submit_array([_job(folder, number, cluster) for _ in array.bundles])
    return [job.job_id for job in jobs]


def _own_setup(folder: Path, number: int, threads: int) -> list[str]:
    """Return the lines of shell before a job's work.

    submitit gives a job its work after sbatch has returned; where it was killed before that, a job takes it from the
    copy that was written first.
    """
    place = shlex.quote(str(folder))
    work = f"{place}/${{id}}_submitted.pkl"
    return [
        'id="${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}"; id="${id:-$SLURM_JOB_ID}"',
        f"[ -e {work} ] || {{ cp {place}/{number}.pkl {work}.$$ && mv {work}.$$ {work}; }}",
        f"rm -f {work}.save_tmp",  # what a job killed while it queued again left, which submitit would trip over
        f"export OMP_NUM_THREADS={threads} SPARSEBENCH_OFFLINE=1",
    ]


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].removeprefix("sbatch: error: ") if lines else type(error).__name__
