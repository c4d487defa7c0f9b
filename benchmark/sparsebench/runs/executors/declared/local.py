"""Workers of this machine."""

from ....extensions import Executor

LOCAL = Executor(
    name="local",
    summary="on --jobs worker processes of this machine",
    make="sparsebench.runs.executors.local:LocalExecutor",
    parallel=True,
    place=2,
)
