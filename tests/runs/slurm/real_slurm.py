"""A real Slurm of one node, started for the tests: munged, slurmctld and slurmd, with a configuration of its own."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel", "sinfo")
SECONDS = 120.0

CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld_port}
SlurmdPort={slurmd_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
JobRequeue=1
KillWait=2
MinJobAge=300
ReturnToService=0
MaxArraySize=101
SchedulerParameters=sched_interval=1,batch_sched_delay=1
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=1000
PartitionName=main Nodes=n1 Default=YES MaxTime=INFINITE State=UP
"""


def no_slurm(reason: str) -> NoReturn:
    """Skip, or fail where Slurm is meant to be here."""
    if os.environ.get("SPARSEBENCH_REQUIRE_SLURM") == "1":
        pytest.fail(f"no Slurm: {reason}")
    pytest.skip(f"no Slurm: {reason}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Slurm:
    """The commands of the tests' Slurm."""

    node = "n1"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *command: str) -> str:
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=SECONDS).stdout

    def node_state(self) -> str:
        return self.run("sinfo", "--noheader", "--format=%T").strip()

    def jobs(self) -> dict[str, str]:
        """The jobs in the queue, elements of arrays one by one, and their states."""
        lines = self.run("squeue", "--noheader", "--array", "--format=%i %T").split("\n")
        return dict(line.split() for line in lines if line.strip())

    def down(self) -> None:
        self.run("scontrol", "update", f"NodeName={self.node}", "State=DOWN", "Reason=test")

    def up(self) -> None:
        self.run("scontrol", "update", f"NodeName={self.node}", "State=RESUME")

    def clear(self) -> None:
        """Cancel everything, and wait until it has gone."""
        self.run("scancel", "--user", "root")
        wait_until(lambda: not self.jobs(), "the queue to be empty")


def wait_until(true: Callable[[], object], what: str, seconds: float = SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.1)


def answers(slurm: Slurm) -> bool:
    with contextlib.suppress(subprocess.SubprocessError):
        return slurm.node_state() == "idle"
    return False


def configure(folder: Path) -> None:
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(128))
    text = CONFIGURATION.format(
        folder=folder,
        host=socket.gethostname().partition(".")[0],
        ctld_port=free_port(),
        slurmd_port=free_port(),
        cpus=min(2, os.cpu_count() or 1),
    )
    (folder / "slurm.conf").write_text(text)
    version = subprocess.run(["slurmctld", "-V"], check=True, capture_output=True, text=True).stdout
    numbers = re.search(r"(\d+)\.(\d+)", version)
    if numbers is not None and (int(numbers[1]), int(numbers[2])) >= (23, 11):  # older ones don't need it, or know it
        (folder / "cgroup.conf").write_text("CgroupPlugin=disabled\n")


def commands(folder: Path) -> list[list[str]]:
    names = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munged.pid", "log-file": "munged.log"}
    options = [f"--{option}={folder / name}" for option, name in {**names, "seed-file": "munged.seed"}.items()]
    return [["munged", "--foreground", "--force", *options], ["slurmctld", "-D"], ["slurmd", "-D", "-N", Slurm.node]]


@contextlib.contextmanager
def started_slurm() -> Iterator[Slurm]:
    """Start a Slurm, its configuration in this process's environment; skip the test where that can't be."""
    if os.name != "posix" or os.getuid() != 0:
        no_slurm("its daemons are started as root")
    if missing := [name for name in NEEDED if shutil.which(name) is None]:
        no_slurm(f"{', '.join(missing)} not found (Debian: apt-get install slurm-wlm munge)")
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # outside of pytest's, which only its user may enter
    folder.chmod(0o755)
    processes: list[subprocess.Popen[bytes]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        for name in [name for name in os.environ if name.startswith(("SLURM_", "SBATCH_")) and name != "SLURM_CONF"]:
            patch.delenv(name)
        try:
            configure(folder)
            slurm = Slurm(folder)
            with (folder / "daemons.log").open("wb") as log:
                for command in commands(folder):
                    processes.append(subprocess.Popen(command, stdout=log, stderr=log))
                    if command[0] == "munged":
                        wait_until((folder / "munge.socket").exists, "munged")
            deadline = time.monotonic() + SECONDS
            while not answers(slurm):
                if any(process.poll() is not None for process in processes) or time.monotonic() > deadline:
                    no_slurm(f"its daemons don't start: {(folder / 'daemons.log').read_text()[-2000:]}")
                time.sleep(0.2)
            yield slurm
            slurm.clear()
        finally:
            for process in reversed(processes):
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(10)
                if process.poll() is None:
                    process.kill()
                    process.wait()
            shutil.rmtree(folder, ignore_errors=True)
