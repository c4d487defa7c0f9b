"""``sparsebench cancel``: take a plan's jobs out of Slurm's queue."""

from __future__ import annotations

import argparse


def main(arguments: argparse.Namespace) -> int:
    """Cancel the submissions of a results folder, or those that are named."""
    from ..runs.executors.cancelling import cancel

    cancelled = cancel(arguments.results, arguments.submission)
    if not cancelled:
        print(f"every submission in {arguments.results} is cancelled already")
    for entry in cancelled:
        jobs = "no job of it was in the queue any more" if entry.jobs == 0 else f"{entry.jobs} jobs"
        print(f"cancelled {entry.submission}: {jobs}")
    return 0
