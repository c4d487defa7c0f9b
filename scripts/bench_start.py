"""How long commands take to start, in multiples of ``import torch`` measured beside each of them.

Times are a process's own (user and system), which other processes on the machine change less than they change
wall-clock times.

    python scripts/bench_start.py --turns 3
"""

from __future__ import annotations

import argparse
import os
import resource
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

MAIN = "run --method acdc --sparsity 0.9 --mode linear --no-reference"
UNCACHED = "main job, no caches"
COMMANDS = {
    UNCACHED: f"{MAIN} --overwrite always",
    "main job, cached": f"{MAIN} --overwrite always",
    "main job, nothing to do": MAIN,
    "a wrong name": "run --method nonsense",
    "an error in YAML": "run --task broken.yaml",
    "inspect": "inspect mini.acdc_s90",
    "list": "list checkpoints",
    "--help": "run --help",
    "status": "status",
}
"""What is measured, in this order: a later command uses what an earlier one has left."""


def seconds(arguments: list[str], folder: Path, cache: Path) -> float:
    """Return the processor seconds of a Python process; its output is dropped."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = os.environ | {"SPARSEBENCH_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print a line per command: processor seconds, and multiples of ``import torch``, medians over turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=3, help="measurements of each (default: 3)")
    turns = parser.parse_args().turns
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cache = folder / "cache"
        (folder / "broken.yaml").write_text("id: [\n", encoding="utf-8")
        for what, command in COMMANDS.items():
            taken, ratios = [], []
            for _ in range(turns):
                if what == UNCACHED:
                    shutil.rmtree(cache, ignore_errors=True)
                torch = seconds(["-c", "import torch"], folder, cache)
                taken.append(seconds(["-m", "sparsebench", *shlex.split(command)], folder, cache))
                ratios.append(taken[-1] / torch)
            typical, multiple = statistics.median(taken), statistics.median(ratios)
            print(f"{what:24}  {typical:6.2f} s  {multiple:5.2f} x import torch", flush=True)


if __name__ == "__main__":
    main()
