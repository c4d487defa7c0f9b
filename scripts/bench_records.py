"""Time gathering many records: make them up, then gather them into the table.

Each gathering runs in a process of its own, which prints its seconds (imports not counted), those of processor time,
and its peak memory.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from common import run_script
from sparsebench.schema import MaskProof, Numerics, RunRecord, RunSpec, Scores, digest
from sparsebench.store import Store, gather
from sparsebench.store.recordfile import to_json

SEEDS, MODES, TASKS = 5, ("linear", "full"), 12
ENVIRONMENT = {"torch": "2.6.0", "python": "3.11.7", "processor": "Made-up CPU @ 2.50GHz", "cpu_capability": "AVX2"}
PROTOCOL = {"lr": 0.01, "epochs": 150, "milestones": [50, 100], "momentum": 0.9, "weight_decay": 0.0005}


def synthetic(count: int) -> Iterator[RunRecord]:
    """Yield made-up records: 5 seeds, 2 modes and 12 tasks of as many checkpoints as that takes."""
    for i in range(count):
        rest, seed = divmod(i, SEEDS)
        rest, mode = divmod(rest, len(MODES))
        checkpoint, task = divmod(rest, TASKS)
        spec = RunSpec(
            arch="resnet50",
            weights_sha256=digest(["weights", checkpoint]),
            mask_sha256=digest(["mask", checkpoint]),
            split_sha256=digest(["split", task]),
            transform_sha256=digest("transform"),
            mode=MODES[mode],  # type: ignore[arg-type]
            probe="sgd" if mode == 0 else None,
            protocol=PROTOCOL,
            seed=seed,
            checkpoint=f"resnet50.made_up{checkpoint}_s90",
            method="gmp",
            sparsity=0.9,
            sparsity_measured=0.9001,
            sparsity_scope="prunable",
            distribution="global",
            reference="resnet50.dense",
            task=f"task{task}",
            protocol_name=f"cvpr22-{MODES[mode]}",
            metric="top1",
            numerics=Numerics(),
        )
        accuracy = (i * 7919 % 10007) / 10007
        yield RunRecord(
            status="ok",
            spec=spec,
            scores=Scores(top1=accuracy, mean_per_class=accuracy, train_loss=1 / (1 + i), n_train=2040, n_test=6149,
                          n_classes=102),
            mask_proof=MaskProof(masked=21_000_000, nonzero=0),
            predictions=f"predictions/{spec.run_id}.0123456789ab.npz",
            predictions_sha256=digest(["predictions", i]),
            seconds=1.5 + i % 7,
            started=f"2026-01-{1 + i // 86400 % 28:02d}T{i // 3600 % 24:02d}:{i // 60 % 60:02d}:{i % 60:02d}+00:00",
            environment=ENVIRONMENT,
        )  # fmt: skip


def write_all(results: Path, count: int) -> float:
    """Write the records, without flushing each to the disk; return the seconds that took."""
    store, started = Store(results), time.perf_counter()
    for i, record in enumerate(synthetic(count)):
        path = store.path_of(record)
        if i % SEEDS == 0:
            path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(to_json(record))
    return time.perf_counter() - started


def measure(what: str, results: Path) -> None:
    """Gather in this process, and print how long it took and how much memory."""
    import pandas as pd  # noqa: F401 - its import is not what is measured

    started, before = time.perf_counter(), time.process_time()
    count = len(Store(results).rows(("status",))["status"] if what == "statuses" else gather(results))
    seconds, busy = time.perf_counter() - started, time.process_time() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    times = f"{seconds:6.2f} s, {busy:6.2f} s of CPU"
    print(f"{what:>10}: {count} records in {times}, peak memory {peak:5.0f} MiB", flush=True)


def main() -> int:
    """Make the records, then gather them: the whole table, and the statuses alone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=100_000, help="how many (default: 100,000)")
    parser.add_argument("--results", type=Path, help="an empty folder to make them in, kept (default: a temporary one)")
    parser.add_argument("--measure", metavar="WHAT", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure, arguments.results)
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        results = arguments.results or Path(temporary)
        seconds = write_all(results, arguments.records)
        size = sum(path.stat().st_size for path in results.rglob("*.json"))
        print(f"{arguments.records} records made in {seconds:.1f} s, {size / 2**20:.0f} MiB of JSON", flush=True)
        again = [sys.executable, __file__, "--results", str(results), "--measure"]
        for what in ("table", "statuses"):
            subprocess.run([*again, what], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
