"""Measure the memory that ``sparsebench analyze`` and the predictions of mode ``upstream`` take on many logits.

Random logits of two networks are scored, kept and compared, each in a process of its own. The peak is the process's
resident memory, the interpreter and what it imports included (torch where networks are scored, not where they are
compared); the network's own is not in it, as its outputs are made up.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench_memory import peak
from common import run_script
from sparsebench.cli import main as sparsebench
from sparsebench.schema import Numerics, RunRecord, RunSpec, Scores, SparsebenchError
from sparsebench.store import Predictions, Store

LIMIT = 1.25 * 2**30
NETWORKS = ("one", "other")
SHA = "0" * 64


def keep(results: Path, name: str, images: int, classes: int) -> None:
    """Score made-up outputs of a network as mode ``upstream`` does, and keep its predictions with their logits."""
    # here, so that the process that compares has no torch, as the command hasn't
    from sparsebench.transfer import upstream

    labels = np.arange(images) % classes
    rng = np.random.default_rng(len(name))

    def outputs(*_: Any, **__: Any) -> Iterator[npt.NDArray[np.float32]]:
        for start in range(0, images, upstream.BATCH):
            own = labels[start : start + upstream.BATCH]
            batch = rng.standard_normal((len(own), classes), dtype=np.float32)
            batch[np.arange(len(own)), own] += 2.0
            yield batch

    vars(upstream)["outputs"] = outputs
    ids = tuple(f"i{k}" for k in range(images))
    split: Any = _Split(labels)
    none: Any = None
    found = upstream.score_head(none, split, none, none, classes=classes, keep_logits=True)
    spec = RunSpec(
        arch="made_up", weights_sha256=SHA, mask_sha256=SHA, split_sha256=SHA, transform_sha256=SHA,
        mode="upstream", probe=None, protocol={"of": name}, seed=0, checkpoint=name, method="dense", sparsity=0.0,
        sparsity_measured=0.0, sparsity_scope="prunable", distribution="dense", task="photos",
        protocol_name="upstream", metric="top1",
        numerics=Numerics(threads=1),
    )  # fmt: skip
    scores = Scores(
        top1=found.top1, mean_per_class=found.mean_per_class, top5=found.top5, n_train=0, n_test=images,
        n_classes=classes,
    )  # fmt: skip
    record = RunRecord(status="ok", spec=spec, scores=scores, seconds=1.0, started="2026-01-02T03:04:05Z")
    Store(results).write(record, Predictions(ids, labels, found.predicted, found.logits))


class _Split:
    """The labels of images that nobody looks at."""

    def __init__(self, labels: npt.NDArray[np.int64]) -> None:
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)


def compare(results: Path) -> None:
    """Compare both networks, as ``sparsebench analyze --json`` does."""
    with contextlib.redirect_stdout(io.StringIO()):
        if sparsebench(["analyze", *NETWORKS, "--results", str(results), "--json"]):
            raise SparsebenchError("sparsebench analyze failed")


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line per process; 1 if one takes more than 1.25 GiB."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--classes", type=int, default=1_000)
    parser.add_argument("--one", nargs=2, metavar=("FOLDER", "WHAT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.one:
        own, what = Path(arguments.one[0]), arguments.one[1]
        started = time.perf_counter()
        if what == "analyze":
            compare(own)
        else:
            keep(own, what, arguments.images, arguments.classes)
        print(json.dumps({"peak": peak(), "seconds": time.perf_counter() - started}))
        return 0
    worst = 0
    with tempfile.TemporaryDirectory() as folder:
        for what in (*NETWORKS, "analyze"):
            size = ["--images", str(arguments.images), "--classes", str(arguments.classes)]
            command = [sys.executable, str(Path(__file__).resolve()), *size, "--one", folder, what]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SparsebenchError(f"{what} failed: {done.stderr.strip().splitlines()[-1:]}")
            found = json.loads(done.stdout.splitlines()[-1])
            worst = max(worst, found["peak"])
            label = "analyze" if what == "analyze" else "upstream"
            print(f"{label:8} peak {found['peak'] / 2**20:6.0f} MiB, {found['seconds']:6.1f} s", flush=True)
    return int(worst > LIMIT)


if __name__ == "__main__":
    sys.exit(run_script(main))
