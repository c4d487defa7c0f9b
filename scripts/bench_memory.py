"""Measure the memory that probes take on features that are larger than it: the peak of a process for each probe.

Features (n, d) are written to a file row by row, as extraction does, and mapped; each probe is then fitted on them in a
process of its own. The peak is the process's resident memory, the interpreter and torch included. Protocols are the
package's, cut short: the memory doesn't depend on the number of epochs or of draws.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from common import run_script
from sparsebench import probes
from sparsebench.registry import builtin_protocols
from sparsebench.schema import Protocol, SparsebenchError

LIMIT = 2**30
PROTOCOLS = {
    "sgd": "cvpr22-linear",
    "lbfgs": "lbfgs-linear",
    "ridge": "ridge-linear",
    "knn": "knn-linear",
    "fewshot": "fewshot-linear",
}
_BLOCK = 4096


def write_features(folder: Path, images: int, dimension: int, classes: int) -> None:
    """Write features around a centre per class, their labels, and a hundredth as many for testing."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((classes, dimension), dtype=np.float32)
    for name, count in (("train", images), ("test", max(classes, images // 100))):
        labels = rng.integers(classes, size=count)
        labels[:classes] = np.arange(classes)
        np.save(folder / f"{name}_y.npy", labels)
        shape = (count, dimension)
        array = np.lib.format.open_memmap(folder / f"{name}_x.npy", mode="w+", dtype=np.float32, shape=shape)
        for low in range(0, count, _BLOCK):
            own = labels[low : low + _BLOCK]
            noise = rng.standard_normal((len(own), dimension), dtype=np.float32)
            array[low : low + _BLOCK] = np.maximum(0.3 * centres[own] + noise, 0)


def shortened(name: str) -> Protocol:
    """Return a probe's protocol with little work but the same memory."""
    registry = builtin_protocols()
    protocol = registry.protocol(PROTOCOLS[name], "linear")
    if name == "sgd":
        return protocol.model_copy(update={"epochs": 1, "milestones": ()})
    if name == "lbfgs":
        return registry.protocol(f"{protocol.name}+l2.count=2", "linear")
    if name == "fewshot":
        return registry.protocol(f"{protocol.name}+few_shot.draws=3", "linear")
    return protocol


def fit(folder: Path, name: str) -> None:
    """Fit one probe here, and print its peak memory in bytes, seconds and accuracy as JSON."""
    arrays = {part: np.load(folder / f"{part}_x.npy", mmap_mode="r") for part in ("train", "test")}
    labels = {part: np.load(folder / f"{part}_y.npy") for part in ("train", "test")}
    started = time.perf_counter()
    (row,) = probes.fit(arrays["train"], labels["train"], arrays["test"], labels["test"], protocol=shortened(name))
    print(json.dumps({"peak": peak(), "seconds": time.perf_counter() - started, "accuracy": row.accuracy}))


def peak() -> int:
    """Return the largest resident memory of this process so far, in bytes."""
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage would count what the parent held when it started this process
        (line,) = (one for one in status.read_text().splitlines() if one.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line per probe; 1 if one takes more than a GiB."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--dimension", type=int, default=2048)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--probe", nargs="+", choices=sorted(PROTOCOLS), default=list(PROTOCOLS))
    parser.add_argument("--folder", type=Path, help="where the file is written (default: a temporary folder)")
    parser.add_argument("--one", nargs=2, metavar=("FOLDER", "PROBE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.one:
        fit(Path(arguments.one[0]), arguments.one[1])
        return 0
    worst = 0
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        write_features(Path(folder), arguments.images, arguments.dimension, arguments.classes)
        size = 4 * arguments.images * arguments.dimension / 2**20
        print(f"{arguments.images} x {arguments.dimension} features, {size:.0f} MiB, {arguments.classes} classes")
        for name in arguments.probe:
            command = [sys.executable, str(Path(__file__).resolve()), "--one", folder, name]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SparsebenchError(f"probe {name} failed: {done.stderr.strip().splitlines()[-1:]}")
            found = json.loads(done.stdout.splitlines()[-1])
            worst = max(worst, found["peak"])
            took = f"{found['seconds']:6.1f} s, top-1 {found['accuracy']:.1%}"
            print(f"{name:8} peak {found['peak'] / 2**20:6.0f} MiB, {took}", flush=True)
    return int(worst > LIMIT)


if __name__ == "__main__":
    sys.exit(run_script(main))
