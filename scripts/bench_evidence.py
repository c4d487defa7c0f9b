"""Measure the time and memory of a leaderboard with intervals over seeds and test images, ranks included.

Makes up a curated table with predicted classes (by default 31 checkpoints, 12 tasks, 5 seeds, 20,000 test images), then
reads it back and makes its leaderboard in a process of its own. Prints seconds (of the wall and of the CPU) and the
most memory that the process took.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from common import run_script
from sparsebench.store import Predictions, tidy, write_curated
from sparsebench.store.curated import FILE, write_classes

_MEASURE = """
import json, resource, sys, time
from sparsebench.report.leaderboard import leaderboard, to_csv
from sparsebench.store import read_results
from sparsebench.store.classes import classes_reader
began, spent = time.perf_counter(), time.process_time()
table = leaderboard(read_results(sys.argv[1]), classes_reader(sys.argv[1]))
text = to_csv(table)
unit = 1 if sys.platform == "darwin" else 1024
print(json.dumps({
    "seconds": time.perf_counter() - began,
    "cpu_seconds": time.process_time() - spent,
    "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30,
    "ranked": int(table["ranked"].max()),
    "scope": table["scope"].iloc[0],
}))
"""


def make(folder: Path, checkpoints: int, tasks: int, seeds: int, images: int, classes: int = 100) -> None:
    """Write a curated table and its predicted classes: harder images are wrong for all, but for noise per run."""
    rows: list[dict[str, Any]] = []

    def kept() -> Iterator[tuple[str, Predictions]]:
        for task in range(tasks):
            rng = np.random.default_rng(task)
            ids = tuple(f"task{task}/{i:06}.jpg" for i in range(images))
            labels, hard = np.arange(images) % classes, rng.random(images)
            for number in range(checkpoints):
                for seed in range(seeds):
                    wrong = hard + 0.2 * rng.random(images) < 0.25 + 0.005 * number
                    key = f"{number}-{task}-{seed}"
                    rows.append(_row(number, task, seed, key, 1.0 - float(np.mean(wrong)), images))
                    yield key, Predictions(ids, labels, np.where(wrong, (labels + 1) % classes, labels))

    write_classes(folder / FILE, kept())
    write_curated(tidy(pd.DataFrame(rows)), folder / "runs.csv")


def _row(number: int, task: int, seed: int, key: str, accuracy: float, images: int) -> dict[str, Any]:
    dense = number == 0
    return {
        "run_id": key, "record_key": key, "status": "ok", "checkpoint": f"mini.c{number}", "arch": "mini",
        "method": "dense" if dense else "gmp", "sparsity": 0.0 if dense else 0.9,
        "reference": None if dense else "mini.c0",
        "task": f"task{task}", "mode": "linear", "probe": "sgd", "protocol": "made-up", "seed": seed, "metric": "top1",
        "accuracy": accuracy, "n_test": images,
    }  # fmt: skip


def measure(folder: Path) -> dict[str, Any]:
    """Return what a leaderboard of a folder takes."""
    command = [sys.executable, "-c", _MEASURE, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Make the data up, measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    for name, default in (("checkpoints", 31), ("tasks", 12), ("seeds", 5), ("images", 20_000)):
        parser.add_argument(f"--{name}", type=int, default=default, metavar="N", help=f"default: {default}")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), arguments.checkpoints, arguments.tasks, arguments.seeds, arguments.images)
        found = measure(Path(folder))
    print(
        f"{found['seconds']:.1f} s ({found['cpu_seconds']:.1f} s of CPU), {found['peak_gib']:.2f} GiB at most;"
        f" {found['ranked']} entries ranked, intervals over {found['scope']}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
