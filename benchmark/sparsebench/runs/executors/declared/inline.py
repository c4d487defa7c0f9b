"""The process of the command itself."""

from ....extensions import Executor

INLINE = Executor(
    name="inline",
    summary="in this process, one run after the other",
    make="sparsebench.runs.executors.inline:InlineExecutor",
    place=1,
)
