"""Compare the wall time of ``--jobs 2`` with that of ``--jobs 1`` on equal groups, one thread per run.

The groups are full finetunings of embedded checkpoints on one task, each of one seed. Both commands run as processes of
their own, in turns, into fresh folders; what every command pays (import, plan) is in their times, as a user would see.
The start of a worker is timed apart.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from common import run_script

CHECKPOINTS = ("mini.acdc_s90", "mini.gmp_s90", "mini.rigl_s90", "mini.str_s90")


def command(jobs: int, results: Path, task: str) -> list[str]:
    """Return the command that runs the groups."""
    words = [sys.executable, "-m", "sparsebench", "run", "--mode", "full", "--seed", "0", "--task", task]
    words.append("--no-reference")
    for checkpoint in CHECKPOINTS:
        words += ["--checkpoint", checkpoint]
    return [*words, "--jobs", str(jobs), "--threads", "1", "--results", str(results)]


def timed(words: Sequence[str]) -> float:
    """Return the seconds of a command that must succeed."""
    started = time.perf_counter()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def main(argv: Sequence[str] | None = None) -> int:
    """Print both times and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--task", default="digits")
    arguments = parser.parse_args(argv)
    times: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(arguments.turns):
        for jobs, taken in times.items():
            with tempfile.TemporaryDirectory() as folder:
                taken.append(timed(command(jobs, Path(folder) / "runs", arguments.task)))
    for jobs, taken in times.items():
        print(f"--jobs {jobs}: {statistics.median(taken):.1f} s (from {min(taken):.1f} to {max(taken):.1f})")
    ratios = [two / one for one, two in zip(times[1], times[2], strict=True)]
    print(f"ratio: {statistics.median(ratios):.2f} (from {min(ratios):.2f} to {max(ratios):.2f})")
    imports = timed([sys.executable, "-c", "import sparsebench.runs.executors.worker"])
    print(f"a worker's imports: {imports:.1f} s, once each")
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
