"""Kill processes at random (kill -9) while they run one plan, then let it end, and check what is left.

The plan is first run undisturbed. Then, for so many seconds, several commands run it again into one other folder and
are killed, they or their workers, and started anew. At the end the command is run once more, to the end, and the
folder must hold what the undisturbed one does: one record an id, each whole, with its predictions, the same numbers,
no claim. What follows ``--`` goes to ``sparsebench run``.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common import run_script
from sparsebench.schema import RunError, RunRecord
from sparsebench.store import Store
from sparsebench.store.recordfile import to_json

PLAN = ["--task", "digits", "--mode", "linear", "--checkpoint", "mini.acdc_s90", "--checkpoint", "mini.gmp_s90"]


@dataclass
class Storm:
    """Commands that run one plan into one folder, and how often they were struck."""

    plan: Sequence[str]
    results: Path
    commands: int
    kills: int = 0
    finished: int = 0

    def blow(self, seconds: float, calm: float) -> None:
        """Keep the commands running for so many seconds, and kill a process every ``calm`` seconds on average."""
        running: list[subprocess.Popen[bytes]] = []
        end = time.monotonic() + seconds
        try:
            while time.monotonic() < end:
                self.finished += sum(process.poll() == 0 for process in running)
                running = [process for process in running if process.poll() is None]
                while len(running) < self.commands:
                    running.append(self._start(jobs=1 + len(running) % 2))
                time.sleep(random.uniform(0, 2 * calm))
                self._strike(random.choice(running))
        finally:
            for process in running:
                for victim in [*children(process.pid), process.pid]:
                    kill(victim)
                process.wait()

    def _start(self, jobs: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "sparsebench", "run", *self.plan, "--results", str(self.results)]
        quiet = subprocess.DEVNULL
        return subprocess.Popen([*command, "--jobs", str(jobs)], stdin=quiet, stdout=quiet, stderr=quiet)

    def _strike(self, process: subprocess.Popen[bytes]) -> None:
        """Kill a command or one of its workers."""
        self.kills += kill(random.choice([process.pid, *children(process.pid)]))


def children(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    with contextlib.suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def kill(pid: int) -> bool:
    """Kill a process; return whether it was there."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False


def run(plan: Sequence[str], results: Path) -> None:
    """Run a plan to its end.

    Raises
    ------
    RunError
        If that fails.
    """
    command = [sys.executable, "-m", "sparsebench", "run", *plan, "--results", str(results)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RunError(f"the plan ended with status {done.returncode}: {done.stderr[-500:]}", "see why it fails alone")


def compare(expected: Path, results: Path) -> int:
    """Return how many records two folders have, which must be the same but for times.

    Raises
    ------
    RunError
        If a record is missing, there twice, half written, without its predictions or other than expected, or if a
        claim or a temporary file is left.
    """
    one, other = Store(expected), Store(results)
    wanted, found = ({record.record_key: record for record in store.read()} for store in (one, other))
    names = [path.name.split(".")[-2] for path in other.records_dir.rglob("*.json")]
    if sorted(names) != sorted(wanted):
        raise RunError(f"{len(names)} record files for {len(wanted)} runs", f"look into {str(results)!r}")
    for key, record in found.items():
        if other.path_of(record).read_bytes() != to_json(record):
            raise RunError(f"the record {key} is not whole")
        if numbers(record) != numbers(wanted[key]):
            raise RunError(f"the record {key} has other numbers than without the storm")
        if other.predictions(record).to_bytes() != one.predictions(wanted[key]).to_bytes():
            raise RunError(f"the run {key} has other predictions than without the storm")
    if left := [path.name for path in other.claims_dir.glob("*.json")]:
        raise RunError(f"{len(left)} claims are left, such as {left[0]}")
    return len(found)


def numbers(record: RunRecord) -> dict[str, object]:
    """Return what of a record must not depend on when and how often it was begun."""
    return record.model_dump(include={"status", "scores", "trials", "mask_proof", "predictions_sha256"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the plan undisturbed, then in the storm, and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600.0, help="how long the storm lasts (default: 600)")
    parser.add_argument("--calm", type=float, default=8.0, help="mean seconds between two kills (default: 8)")
    parser.add_argument("--commands", type=int, default=3, help="commands that run the plan at once (default: 3)")
    parser.add_argument("plan", nargs="*", default=PLAN, help="what to run; default: " + " ".join(PLAN))
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        calm, stormy = Path(folder) / "calm", Path(folder) / "stormy"
        print("the plan undisturbed ...", flush=True)
        run(given.plan, calm)
        print(f"the storm, {given.seconds:.0f} s ...", flush=True)
        storm = Storm(given.plan, stormy, given.commands)
        storm.blow(given.seconds, given.calm)
        print(f"{storm.kills} processes killed, {storm.finished} commands finished; now to the end ...", flush=True)
        run(given.plan, stormy)
        count = compare(calm, stormy)
        left = len(list(stormy.rglob("*.tmp")))
        print(f"nothing lost: {count} records, one per run, with the same numbers; {left} temporary files to be swept")
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
