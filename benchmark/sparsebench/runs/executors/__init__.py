"""The same plan in this process, on local workers or on a Slurm cluster; one interface, the same numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from .base import Executor
    from .slurm import SlurmSettings

Kind = Literal["inline", "local", "slurm"]
KINDS: tuple[Kind, ...] = ("inline", "local", "slurm")


def make_executor(kind: Kind, jobs: int, threads: int, slurm: SlurmSettings | None = None) -> Executor:
    """Return an executor: ``inline`` runs here, ``local`` on so many worker processes, ``slurm`` as jobs of a cluster.

    An executor is loaded when it is asked for: a Slurm job imports this package before it listens to signals.
    """
    if kind == "inline":
        from .inline import InlineExecutor

        return InlineExecutor()
    if kind == "local":
        from .local import LocalExecutor

        return LocalExecutor(jobs, threads)
    from .slurm import SlurmExecutor

    if slurm is None:
        raise TypeError("the Slurm executor needs its settings")
    return SlurmExecutor(slurm)
