"""The same plan in this process or on local workers; one interface, the same numbers."""

from __future__ import annotations

from .base import Executor
from .inline import InlineExecutor
from .local import LocalExecutor

__all__ = ["Executor", "InlineExecutor", "LocalExecutor", "make_executor"]


def make_executor(jobs: int, threads: int) -> Executor:
    """Return the executor for a number of jobs: one runs here, more on worker processes."""
    return InlineExecutor() if jobs == 1 else LocalExecutor(jobs, threads)
