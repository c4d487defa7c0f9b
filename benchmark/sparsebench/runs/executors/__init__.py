"""The same plan in this process, on local workers or on a Slurm cluster; one interface, the same numbers.

What an executor is called and takes is declared in :mod:`.declared`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ... import extensions

if TYPE_CHECKING:
    from .base import Executor


def make_executor(name: str, context: extensions.ExecutorContext) -> Executor:
    """Return the executor of a name, made for a plan.

    An executor is loaded when it is asked for: a Slurm job imports this package before it listens to signals.
    """
    declared: extensions.Executor = extensions.get("executors", name)
    made: Executor = extensions.load(declared.make)(context)
    return made
