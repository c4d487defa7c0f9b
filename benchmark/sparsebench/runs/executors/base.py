"""What every executor does: the groups of a plan, each to its records, with events as it goes."""

from __future__ import annotations

from typing import Protocol

from ..options import RunOptions
from ..plan import Plan
from ..runner import Emit


class Executor(Protocol):
    """Runs a plan's groups; failures become records, an interrupt stops everything."""

    def execute(self, plan: Plan, options: RunOptions, emit: Emit) -> None:
        """Run all groups of ``plan``."""
        ...
