"""A cluster's queue."""

from __future__ import annotations

import shutil

from ....extensions import Executor
from ..cluster import Cluster

COMMANDS = ("sbatch", "srun", "squeue", "scontrol")
"""The commands of Slurm that it uses."""


def _missing() -> str | None:
    gone = [name for name in COMMANDS if shutil.which(name) is None]
    return f"needs: {', '.join(gone)}, which a cluster's login node has" if gone else None


SLURM = Executor(
    name="slurm",
    summary="as jobs of a Slurm cluster",
    make="sparsebench.runs.executors.slurm:SlurmExecutor",
    elsewhere=True,
    settings=Cluster,
    check="sparsebench.runs.executors.submission:check_slurm",
    hints="sparsebench.runs.executors.slurm:hints",
    here=_missing,
    place=3,
)
